# Release

RELEASE_TOOLS ?= target/release-tools
RELEASE_FOLDER ?= target/dist
# The time of every file in a release: that of the commit.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)

.PHONY: release release-tools release-test packages-test crates-test

release: release-tools static ## build what a release consists of, in target/dist: packages, chart, SBOM, checksums
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) deploy/packages/build $(STATIC) $(RELEASE_TOOLS) $(RELEASE_FOLDER)

release-tools:
	@deploy/packages/tools $(RELEASE_TOOLS)

release-test: release-tools ## build the release of the last commit twice, in different folders, and compare the files; takes long
	tests/packages/reproducible $(RELEASE_TOOLS)

packages-test: ## install, start, upgrade, remove and purge the packages in target/dist, in a clean root; needs root
	@tests/install debootstrap
	@tests/install rpm
	tests/packages/lifecycle $(RELEASE_TOOLS) $(RELEASE_FOLDER)

crates-test: ## package the crates as for crates.io, and build them from these packages
	$(CARGO) package --locked --package cachepulse-standin --package cachepulse
