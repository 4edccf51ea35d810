# Develop

CARGO ?= cargo

# The static binary is the one in the image.
STATIC = target/static/cachepulse

# Python packages of the tests of the log and of /status, and of `make lint`.
LOG_TOOLS ?= target/log-tools
STATUS_TOOLS ?= target/status-tools
LINT_TOOLS ?= target/lint-tools

.DEFAULT_GOAL := help
.PHONY: help demo docs static test test-parts test-build quick-test simulation-test server-test servers-test cluster-test static-test log-test status-test binary lint words-lint locks deny redis-server openssl valgrind strace

# Each part of `make test`; the files under make/ add theirs.
TEST_PARTS = quick-test server-test servers-test simulation-test log-test status-test

include make/*.mk

# The first line of each file is its heading.
help: ## list the targets
	@awk 'FNR == 1 { sub(/^# /, ""); printf "%s%s\n", NR == 1 ? "" : "\n", $$0 } \
		/^[a-z-]+:.*## / { name = $$0; sub(/:.*/, "", name); sub(/.*## /, ""); printf "  %-18s %s\n", name, $$0 }' \
		$(sort $(MAKEFILE_LIST))

demo: ## build and run the agent against a local stand-in for Azure
	$(CARGO) run --locked --release -- demo $(ARGS)

docs: ## write the reference pages in docs/ and the chart's schema from the descriptors
	$(CARGO) run --locked --package cachepulse-reference

static: ## build the static binary of the image, target/static/cachepulse
	CACHEPULSE_REVISION="$$(git describe --always --dirty --abbrev=40 --exclude="*" 2>/dev/null)" \
		deploy/image/compile "$$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" $(STATIC)

# Most parts wait more than they compute, so that two of them run at a time.
test: test-build ## run every test, and install what they need; 15 minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(TEST_PARTS)
	@echo "every test passed: $(TEST_PARTS)"

test-parts:
	@echo $(TEST_PARTS)

quick-test: ## run the tests that need no program: cargo test
	$(CARGO) test --locked

simulation-test: ## run thousands of random histories of a prober against a reference
	SIMULATION_FACTOR=5 $(CARGO) test --locked --package cachepulse --lib simulation

# Four of the agent's tests at a time, because they wait more than they compute; the faults measure what they cost.
server-test: redis-server openssl ## test the agent with redis-server, and under every fault
	$(CARGO) test --locked --test agent -- --test-threads=4
	$(CARGO) test --locked --test faults

servers-test: redis-server ## test the verdict and the quickstart's commands with Redis 8 and Valkey 8
	@tests/agent/servers
	for server in redis-8 valkey-8; do \
		PATH="$(CURDIR)/target/servers/$$server:$$PATH" $(CARGO) test --locked --test agent -- verdict quickstart || exit 1; \
	done

cluster-test: redis-server ## test clusters, Sentinel and maintenance notices with Redis 8 and Valkey 8, too
	@tests/agent/servers
	for server in redis-8 valkey-8; do \
		PATH="$(CURDIR)/target/servers/$$server:$$PATH" $(CARGO) test --locked --test agent -- cluster replicas sentinel maintenance || exit 1; \
	done

static-test: redis-server static ## test how the static binary, whose C library is musl, resolves names
	CACHEPULSE_BINARY=$(abspath $(STATIC)) $(CARGO) test --locked --test agent network::

log-test: binary ## read the log with parsers of logfmt and JSON
	@tests/venv $(LOG_TOOLS) tests/log/requirements.txt
	PYTHONDONTWRITEBYTECODE=1 $(LOG_TOOLS)/bin/python tests/log/test_log.py

status-test: redis-server binary ## validate /status by its schema
	@tests/venv $(STATUS_TOOLS) tests/status/requirements.txt
	PYTHONDONTWRITEBYTECODE=1 $(STATUS_TOOLS)/bin/python tests/status/test_status.py

# Before the parts, so that no part waits for another one's compiler.
test-build:
	$(CARGO) test --locked --workspace --no-run --lib --bins --test '*'

# target/debug/cachepulse, as the tests of cargo build it: cargo build would build the dependencies again, for fewer
# features.
binary:
	$(CARGO) test --locked --no-run --test binary

lint: words-lint ## check formatting, clippy, links in the docs, wording and hosted CI; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --package cachepulse --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --lib
	@tests/venv $(LINT_TOOLS) .github/requirements.txt
	$(LINT_TOOLS)/bin/zizmor --offline --quiet .github
	$(LINT_TOOLS)/bin/actionlint

# Phrases that once stood for a usual term. docs/ includes the help texts and the advice.
words-lint:
	@grep -rInEi "spoke unasked|gets company|goes before|stands in|is told|is good for" *.md docs charts deploy; \
		test $$? -eq 1 || { echo "use the field's usual terms instead" >&2; exit 1; }

# Starts from the agent's Cargo.lock; cargo adds the packages that only fuzz/ or bench/driver/ need.
locks: ## update the Cargo.lock of fuzz/ and bench/driver/ from the agent's
	@for folder in fuzz bench/driver; do \
		cp Cargo.lock $$folder/Cargo.lock && \
		$(CARGO) metadata --format-version 1 --manifest-path $$folder/Cargo.toml >/dev/null || exit 1; \
	done

deny: ## check licences, sources and duplicates of the dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check bans licenses sources

# Only the binary is needed. A service that the package starts is not used.
redis-server:
	@tests/install redis-server

openssl:
	@tests/install openssl

valgrind:
	@tests/install valgrind

strace:
	@tests/install strace
