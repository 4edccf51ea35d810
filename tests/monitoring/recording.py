"""Scrapes the agent's endpoint while eight threads record, with Prometheus 2.42, 2 and 3 with native histograms, and 3 without.

`recording.py ADDRESS` prints a line once each has scraped often, and reads the number of durations that were recorded and
their true quantiles. It fails if a scrape failed, or if a quantile is off by 5 % or more. The test `monitoring` runs it.
"""

import contextlib
import json
import pathlib
import sys
import tempfile

import live

NATIVE = ["--enable-feature=native-histograms"]
KINDS = {"old-native": NATIVE, "2-native": NATIVE, "3-native": NATIVE, "3": []}
SCRAPES = 10
RECORDED = 'cachepulse_step_duration_seconds{step="ping"}'


def main(address):
    with tempfile.TemporaryDirectory(prefix="cachepulse-") as folder, contextlib.ExitStack() as stack:
        scrape = {"job_name": "cachepulse", "static_configs": [{"targets": [address]}]}
        # As long as a busy machine may need.
        config = {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [scrape]}
        start = lambda kind: live.start_prometheus(kind, config, pathlib.Path(folder), stack, *KINDS[kind])
        urls = {kind: start(kind) for kind in KINDS}
        for kind, url in urls.items():
            scraped = lambda url=url: (live.value(url, "count_over_time(up[1h])") or 0) >= SCRAPES
            live.until(scraped, 120, f"Prometheus {kind} does not scrape")
        print("scraped", flush=True)
        recorded = json.loads(sys.stdin.readline())
        for kind, url in urls.items():
            count = f"histogram_count({RECORDED})" if kind.endswith("-native") else RECORDED.replace("{", "_count{")
            complete = lambda url=url, count=count: live.value(url, count) == recorded["count"]
            live.until(complete, 60, f"Prometheus {kind}: not {recorded['count']} durations")
            assert live.value(url, "min_over_time(up[1h])") == 1, f"Prometheus {kind}: a scrape failed"
            if kind.endswith("-native"):
                the_quantiles_are_true(kind, url, recorded["quantiles"])
    live.say(f"Prometheus 2.42, 2 and 3 have scraped while eight threads recorded {recorded['count']} durations")


def the_quantiles_are_true(kind, url, quantiles):
    for quantile, truth in quantiles.items():
        shown = live.value(url, f"histogram_quantile({quantile}, {RECORDED})")
        assert abs(shown / truth - 1) < 0.05, f"Prometheus {kind}: the quantile {quantile} is {shown}, and not {truth}"


if __name__ == "__main__":
    main(*sys.argv[1:])
