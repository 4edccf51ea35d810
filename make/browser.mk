# Pages for people

BROWSER_OUTPUT ?= docs/pages

.PHONY: browser-test browser-tools screenshots

TEST_PARTS += browser-test

browser-test: browser-tools ## test the pages for people in a headless Chromium
	$(CARGO) test --locked --test browser

screenshots: browser-tools ## make the pictures of the pages in docs/
	SCREENSHOTS=$(abspath docs) $(CARGO) test --locked --test browser pictures -- --ignored

browser-tools:
	@tests/browser/tools
