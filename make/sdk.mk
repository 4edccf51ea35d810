# Azure's SDK

SDK_TOOLS ?= target/sdk-tools
AZ_TOOLS ?= target/az-tools

.PHONY: sdk-test az-test

TEST_PARTS += sdk-test

sdk-test: ## compare the agent's requests for tokens with those of Azure's SDK for Python
	@tests/venv $(SDK_TOOLS) tests/sdk/requirements.txt
	SDK_PYTHON=$(abspath $(SDK_TOOLS))/bin/python $(CARGO) test --locked --test sdk

# Not part of `make test`: the Azure CLI has 700 MB, and its installation takes minutes.
az-test: binary ## test what the agent makes of the errors of the real Azure CLI
	@tests/venv $(AZ_TOOLS) tests/az/requirements.txt
	tests/az/run target/debug/cachepulse $(abspath $(AZ_TOOLS))/bin
