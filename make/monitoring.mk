# Alerts and dashboard

.PHONY: monitoring-test monitoring-tools dashboard-picture

MONITORING_PYTHON ?= target/monitoring-python

TEST_PARTS += monitoring-test

monitoring-test: monitoring-tools redis-server openssl binary ## test alerts and dashboard with real Prometheus and Alertmanager
	tests/monitoring/rules
	python3 tests/monitoring/discovery.py
	$(CARGO) test --locked --test monitoring
	@tests/venv $(MONITORING_PYTHON) tests/monitoring/requirements.txt
	PYTHONDONTWRITEBYTECODE=1 $(MONITORING_PYTHON)/bin/python tests/monitoring/openmetrics.py
	python3 tests/monitoring/live.py

monitoring-tools:
	@command -v python3 >/dev/null || { echo "the monitoring tests need python3; install it (Debian: sudo apt-get install python3)" >&2; exit 1; }
	@tests/monitoring/tools

dashboard-picture: monitoring-tools redis-server binary ## draw docs/dashboard.png and its overview from real data
	test -x target/monitoring/picture/bin/python || python3 -m venv target/monitoring/picture
	target/monitoring/picture/bin/pip install --quiet matplotlib
	target/monitoring/picture/bin/python tests/monitoring/live.py --picture docs/dashboard.png
