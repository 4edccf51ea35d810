.PHONY: chaos soak

chaos: redis-server ## compare the agent's record with random outages (CHAOS_SECONDS=240, CHAOS_SEED=)
	$(CARGO) test --locked --test faults -- --ignored --nocapture for_minutes

soak: redis-server ## see that nothing grows under constant faults (SOAK_SECONDS=600, SOAK_SEED=)
	$(CARGO) test --locked --test faults -- --ignored --nocapture soak::
