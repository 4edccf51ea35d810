# Laptops

LAPTOP_TARGETS ?= aarch64-apple-darwin x86_64-pc-windows-gnu

.PHONY: laptop-check laptop-test

# The compiler of C is `true`, because the cryptography need not be compiled where nothing is linked.
# The functions that do nothing on a system have the signatures that others need, so clippy is not pedantic.
laptop-check: ## check the types of the code for macOS and Windows, on any system
	@set -e; for target in $(LAPTOP_TARGETS); do \
		name=$$(echo $$target | tr - _); \
		echo "checking for $$target"; \
		rustup target add $$target; \
		env SDKROOT=/ CC_$$name=true AR_$$name=true $(CARGO) clippy --locked --target $$target \
			--package cachepulse --package cachepulse-standin --lib --bins -- -D warnings -A clippy::pedantic; \
	done

# Hosted CI does the same on macOS and Windows.
laptop-test: ## test check, validate and demo on this system
	$(CARGO) build --locked
	tests/laptop/smoke target/debug/cachepulse
