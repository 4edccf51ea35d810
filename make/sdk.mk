# Azure's SDK

SDK_TOOLS ?= target/sdk-tools

.PHONY: sdk-test

TEST_PARTS += sdk-test

sdk-test: ## compare the agent's requests for tokens with those of Azure's SDK for Python
	@tests/venv $(SDK_TOOLS) tests/sdk/requirements.txt
	SDK_PYTHON=$(abspath $(SDK_TOOLS))/bin/python $(CARGO) test --locked --test sdk
