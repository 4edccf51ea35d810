# Fuzz

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
FUZZ_OUTPUT ?= target/fuzz
FUZZ_BUILD = $(abspath $(or $(CARGO_TARGET_DIR),target))
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Coverage instrumentation for libFuzzer on a stable toolchain. There is no sanitizer, because the code has no unsafe blocks.
# With --target, the flags do not apply to build scripts.
FUZZ_FLAGS = --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
# Inputs of a few kilobytes reach all code, and take less than a millisecond and little memory.
FUZZ_LIMITS = -max_len=4096 -timeout=10 -rss_limit_mb=128

.PHONY: fuzz fuzz-build fuzz-lint

lint: fuzz-lint

# The properties are linted with tests/fuzz.rs.
fuzz-lint:
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null

fuzz: fuzz-build ## fuzz each parser for FUZZ_SECONDS=60; FUZZ_TARGETS= selects from reply, notice, token, answer, config, topology
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ_OUTPUT)/$$target; \
		run="$(FUZZ_BUILD)/$(FUZZ_HOST)/release/$$target $(FUZZ_LIMITS)"; \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		$$run -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$(FUZZ_OUTPUT)/$$target- \
			$(FUZZ_OUTPUT)/$$target $$(ls -d fuzz/corpus/$$target fuzz/regressions/$$target 2>/dev/null) </dev/null \
			>$(FUZZ_OUTPUT)/$$target.log 2>&1 || { \
			tail -n 40 $(FUZZ_OUTPUT)/$$target.log >&2; \
			input=$$(sed -n 's/.*Test unit written to //p' $(FUZZ_OUTPUT)/$$target.log); \
			echo "$$target: a finding; to replay it: $$run $$input" >&2; \
			echo "when it is fixed, add the input to fuzz/regressions/$$target/ under a name that describes the fault" >&2; \
			exit 1; }; \
		grep -E 'cov: ' $(FUZZ_OUTPUT)/$$target.log | sed -n '1p;$$p'; \
	done

fuzz-build:
	@command -v c++ >/dev/null || { echo "libFuzzer needs a C++ compiler; install one (Debian: sudo apt-get install g++)" >&2; exit 1; }
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --release --target $(FUZZ_HOST) --manifest-path fuzz/Cargo.toml \
		--target-dir $(FUZZ_BUILD)
