# The two commands of the README are `make demo` and `make test`; `make help` lists all.

CARGO ?= cargo

# The static binary is the same that the image holds.
STATIC = target/static/cachepulse

.PHONY: help demo docs static test lint deny redis-server valgrind

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

demo: ## build and run the agent against a local Azure
	$(CARGO) run --locked --release -- demo $(ARGS)

docs: ## write the reference pages in docs/ from the code's descriptors
	$(CARGO) run --locked --package cachepulse-reference

static: ## build the static binary that the image holds, target/static/cachepulse
	CACHEPULSE_REVISION="$$(git describe --always --dirty --abbrev=40 --exclude="*" 2>/dev/null)" \
		deploy/image/compile "$$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" $(STATIC)

test: redis-server chart-test ## install what tests need, then run every test
	$(CARGO) test --locked --workspace

lint: ## formatting, clippy and the links in the docs; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --package cachepulse --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --lib

deny: ## licences, sources and duplicates of the dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check bans licenses sources

# The tests run against a real server. Only its binary is needed; the service that some packages start is left alone.
redis-server:
	@command -v redis-server >/dev/null || tests/install redis-server

valgrind:
	@command -v valgrind >/dev/null || tests/install valgrind

include make/*.mk
