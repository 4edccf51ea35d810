# The stand-in and real clients.

CLIENTS_VENV ?= target/clients

.PHONY: clients-test

test: clients-test

clients-test: redis-server ## try the demo's cache with redis-cli and redis-py, and before a redis-server
	@test -x $(CLIENTS_VENV)/bin/python || python3 -m venv $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/pip install --quiet --disable-pip-version-check 'redis>=5,<8'
	CLIENTS_PYTHON=$(abspath $(CLIENTS_VENV))/bin/python $(CARGO) test --locked --package cachepulse-standin --test clients
