# Faults for longer

CHAOS_SECONDS ?= 240
SOAK_SECONDS ?= 600
# The seed is printed, so that a run can be repeated.
CHAOS_SEED ?= $(shell date +%s)
SOAK_SEED ?= $(shell date +%s)

.PHONY: chaos soak

chaos: redis-server ## compare the agent's record with random outages (CHAOS_SECONDS=240, CHAOS_SEED=)
	CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) $(CARGO) test --locked --test faults -- --nocapture chaos::

soak: redis-server ## check that nothing grows under constant faults (SOAK_SECONDS=600, SOAK_SEED=)
	SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) $(CARGO) test --locked --test faults -- --nocapture soak::
