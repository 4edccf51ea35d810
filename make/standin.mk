# Stand-in

CLIENTS_VENV ?= target/clients

.PHONY: clients-test

TEST_PARTS += clients-test

clients-test: redis-server ## test the demo's cache with redis-cli and redis-py, and against redis-server
	@test -x $(CLIENTS_VENV)/bin/python || python3 -m venv $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/pip install --quiet --disable-pip-version-check 'redis>=5,<8'
	CLIENTS_PYTHON=$(abspath $(CLIENTS_VENV))/bin/python $(CARGO) test --locked --package cachepulse-standin --test clients
