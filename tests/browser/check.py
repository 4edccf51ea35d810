"""Looks at pages of the agent in a headless Chromium, in two widths and both colour schemes.

`check.py AXE URL...` fails unless each page fits the window, executes nothing that it was not meant to, loads nothing, and has
no finding of axe-core. Finds out about markup that a text may have become also where the Content-Security-Policy would stop it.
"""

import json
import pathlib
import sys

from chromium import Chromium

WIDTHS = [1200, 360]
SCHEMES = ["light", "dark"]
# Nothing on a page makes these.
FORBIDDEN = "script, img, iframe, object, embed, base, link, svg a, svg image, svg use, foreignObject"

# What is outside of a window of this width. Where the page is wider, `innerWidth` may be as well.
OVERFLOW = """(width => {
  const boxes = [...document.querySelectorAll("body *")].map(it => [it, it.getBoundingClientRect()]);
  const outside = boxes.filter(([_, box]) => box.width > 0 && (box.right > width + 1 || box.left < -1));
  const page = document.documentElement.scrollWidth;
  return (page > width ? [`the page is ${page} px wide`] : []).concat(outside.slice(0, 3).map(([it]) => it.outerHTML.slice(0, 200)));
})(%d)"""

MARKUP = """(() => {
  const handlers = [...document.querySelectorAll("*")].filter(it => it.getAttributeNames().some(name => name.startsWith("on")));
  const links = [...document.querySelectorAll("a[href], form[action]")].filter(it => new URL(it.href || it.action).origin !== location.origin);
  const unwanted = [...document.querySelectorAll(%s)];
  return [...handlers, ...links, ...unwanted].map(it => it.outerHTML.slice(0, 200)).concat(window.executed ? ["a text was executed"] : []);
})()""" % json.dumps(FORBIDDEN)

AXE = """axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(found =>
  [...found.violations, ...found.incomplete.filter(it => it.id === "color-contrast")].flatMap(it =>
    it.nodes.slice(0, 3).map(node => `${it.id}: ${node.html.slice(0, 200)}: ${node.failureSummary || node.any.map(check => check.message)}`)))"""


REPORTS = "Page.javascriptDialogOpening", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"


def main(axe, *urls):
    axe = pathlib.Path(axe).read_text()
    findings = []
    with Chromium() as browser:
        for url in urls:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    browser.show(width, scheme)
                    findings += [f"{url} at {width} px, {scheme}: {finding}" for finding in look(browser, axe, url, width)]
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"{len(urls)} pages, {len(findings)} findings")
    sys.exit(bool(findings))


def look(browser, axe, url, width):
    """Yields what is wrong with a page."""
    browser.call("Page.setBypassCSP", enabled=False)
    events = browser.open(url)
    for event in events:
        if event.get("method") in REPORTS and not is_status(event, url):
            yield f"{event['method']}: {json.dumps(event['params'])[:300]}"
    loaded = [event["params"]["request"]["url"] for event in events if event.get("method") == "Network.requestWillBeSent"]
    # Browsers look for an icon by themselves.
    extra = [other for other in loaded if other != url and not other.endswith("/favicon.ico")]
    if extra:
        yield f"loads {extra}"
    yield from browser.evaluate(OVERFLOW % width)
    browser.call("Page.setBypassCSP", enabled=True)
    browser.open(url)
    yield from browser.evaluate(MARKUP)
    browser.evaluate(axe)
    yield from browser.evaluate(AXE)


def is_status(event, url):
    """Whether an event only says that the page itself came with the status of an error."""
    entry = event["params"].get("entry", {})
    return entry.get("source") == "network" and entry.get("url") == url


if __name__ == "__main__":
    main(*sys.argv[1:])
