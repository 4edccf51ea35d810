# Chart, manifests and image

CHART_TOOLS ?= target/chart-tools
CHART_PYTHON = CHART_TOOLS=$(abspath $(CHART_TOOLS)) PYTHONDONTWRITEBYTECODE=1 $(CHART_TOOLS)/venv/bin/python

.PHONY: chart-tools chart-test chart-readme manifests azure-rules image-test

TEST_PARTS += chart-test

chart-tools:
	@tests/chart/tools $(CHART_TOOLS)

chart-test: chart-tools monitoring-tools redis-server binary ## test the chart and the manifests, with Helm 3 and 4 and Prometheus
	@tests/install openssl
	$(CHART_PYTHON) -m unittest discover --start-directory tests/chart

chart-readme: chart-tools ## write the table of values in the chart's README
	$(CHART_PYTHON) tests/chart/readme.py

manifests: chart-tools ## write the plain manifests in deploy/ from the chart
	$(CHART_PYTHON) tests/chart/manifests.py

azure-rules: chart-tools ## write the rules for Azure Monitor in deploy/azure and the chart
	$(CHART_PYTHON) tests/chart/azure_rules.py

image-test: ## build and test the image; needs root and buildah
	tests/chart/image-test
