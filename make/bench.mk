# Measure

BENCH_TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
BENCH_FOLDER ?= target/bench
BENCH_SECONDS ?= 300
BENCH_PYTHON = PYTHONDONTWRITEBYTECODE=1 python3
# A shorter run is for work on the harness. Its figures do not go into the documentation.
BENCH_OUTPUT = $(if $(filter 300,$(BENCH_SECONDS)),docs,$(BENCH_FOLDER))/performance.md
BENCH_DRIVER = --manifest-path bench/driver/Cargo.toml --target-dir $(BENCH_TARGET)
BENCH_INSTRUCTIONS = bench/regression.py $(BENCH_TARGET)/release/instructions bench/baseline.json

.PHONY: bench bench-driver bench-executed bench-lint bench-regression bench-baseline

bench: redis-server strace static bench-driver ## measure the agent and other tools, 12 minutes; writes docs/performance.md
	BENCH_SECONDS=$(BENCH_SECONDS) $(BENCH_PYTHON) bench/bench.py $(STATIC) $(BENCH_TARGET)/release/bare $(BENCH_FOLDER) $(BENCH_OUTPUT)

bench-regression: valgrind bench-driver ## compare the instructions of probes, scrapes and renewal with the baseline
	$(BENCH_PYTHON) $(BENCH_INSTRUCTIONS)

bench-baseline: valgrind bench-driver ## update that baseline
	$(BENCH_PYTHON) $(BENCH_INSTRUCTIONS) --renew

bench-executed: redis-server valgrind ## list the functions that the agent executes, which are first in the static binary
	CARGO_TARGET_DIR=$(BENCH_FOLDER)/executed CARGO_PROFILE_RELEASE_STRIP=none deploy/image/compile \
		"$$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" $(BENCH_FOLDER)/executed/cachepulse
	$(BENCH_PYTHON) bench/executed.py $(BENCH_FOLDER)/executed/cachepulse deploy/image/executed

bench-driver:
	$(CARGO) build --locked --release $(BENCH_DRIVER)

lint: bench-lint

bench-lint:
	$(CARGO) fmt --check --manifest-path bench/driver/Cargo.toml
	$(CARGO) clippy --locked --all-targets $(BENCH_DRIVER) -- -D warnings
