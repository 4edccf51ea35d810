.PHONY: chaos

chaos: redis-server ## compare the agent's record with random outages (CHAOS_SECONDS=240, CHAOS_SEED=)
	$(CARGO) test --locked --test faults -- --ignored --nocapture for_minutes
