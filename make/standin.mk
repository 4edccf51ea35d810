# Stand-in

CLIENTS_TOOLS ?= target/clients

.PHONY: clients-test

TEST_PARTS += clients-test

clients-test: redis-server ## test the demo's cache with redis-cli and redis-py, and against redis-server
	@tests/venv $(CLIENTS_TOOLS) crates/standin/tests/clients/requirements.txt
	CLIENTS_PYTHON=$(abspath $(CLIENTS_TOOLS))/bin/python \
		$(CARGO) test --locked --workspace --test clients
