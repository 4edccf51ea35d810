"""Scrapes each target by itself from /probe, with Prometheus 2.42, 2 and 3: discovered from /sd, and listed and relabelled as for
the Blackbox exporter, which is what a Probe of the Prometheus operator does. Prometheus 3 runs with native histograms as well,
so that it asks for protobuf.

`make monitoring-test` runs it.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import live

KINDS = {"old": [], "2": [], "3": [], "3-native": ["--enable-feature=native-histograms"]}
LOST = 'lost & "found" é/1'


def main():
    with tempfile.TemporaryDirectory(prefix="cachepulse-") as folder, contextlib.ExitStack() as stack:
        lab = Lab(pathlib.Path(folder), stack)
        lab.configure("orders", LOST)
        lab.start("agent", [live.AGENT, "run", "--config", lab.config])
        live.until(lambda: live.answers(f"http://{lab.agent}/livez"), 20, "the agent does not answer")
        urls = {kind: lab.start_prometheus(kind, options) for kind, options in KINDS.items()}
        for kind, url in urls.items():
            each_target_is_scraped_by_itself(kind, url)
            a_name_that_no_target_has_is_down(kind, url)
        lab.configure("baskets", LOST)
        for kind, url in urls.items():
            the_list_follows_the_configuration(kind, url)
            nothing_has_failed(kind, url)
    print("Prometheus 2.42, 2 and 3 discover the targets from /sd and scrape each from /probe")


def each_target_is_scraped_by_itself(kind, url):
    for job in ("discovered", "listed"):
        for instance, success in ("orders", 1), (LOST, 0):
            labels = f'job="{job}",instance={json.dumps(instance, ensure_ascii=False)}'
            value = lambda name, labels=labels: live.value(url, f"{name}{{{labels}}}")
            live.until(lambda: value("probe_success") == success, 60, f"Prometheus {kind}: {labels}: not {success}")
            assert value("up") == 1, f"Prometheus {kind}: {labels}: not up"
            assert 0 <= value("probe_age_seconds") < 30 and 0 < value("probe_duration_seconds") < 10, labels
    for series in live.query(url, '{__name__=~"probe_.*"}'):
        names = set(series["metric"]) - {"__name__"}
        assert names == {"job", "instance"}, f"Prometheus {kind}: {series}"


def a_name_that_no_target_has_is_down(kind, url):
    down = lambda: live.value(url, 'up{instance="nobody"}') == 0
    live.until(down, 60, f"Prometheus {kind}: an unknown name is up")


def the_list_follows_the_configuration(kind, url):
    def instances():
        found = live.query(url, 'up{job="discovered"}')
        return {series["metric"]["instance"] for series in found}

    live.until(lambda: instances() == {"baskets", LOST}, 60, f"Prometheus {kind}: the list does not change")


def nothing_has_failed(kind, url):
    """Prometheus counts lists that it cannot read, and logs targets that it drops."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    counts = [line.rsplit(" ", 1) for line in lines if line.startswith("prometheus_sd_") and "failures_total" in line]
    assert counts, "Prometheus counts no failures"
    failed = [name for name, count in counts if float(count)]
    assert not failed, f"Prometheus {kind}: {failed}"


class Lab:
    """A cache, an agent with two targets, and what scrapes it."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.config = folder / "cachepulse.yaml"
        self.agent, self.cache, self.nobody = f"127.0.0.1:{live.free_port()}", live.free_port(), live.free_port()
        cache = ["redis-server", "--port", self.cache, "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self.start("cache", cache)
        live.until(lambda: live.listens(self.cache), 20, "redis-server does not listen")

    def configure(self, up, down):
        """Configures a target whose cache answers, and one whose cache does not."""
        target = lambda name, port: {
            "name": name, "host": "127.0.0.1", "port": port, "tls": False, "identity": "none", "interval": "1s"
        }
        config = {"http": {"listen": self.agent}, "targets": [target(up, self.cache), target(down, self.nobody)]}
        # JSON is YAML.
        self.config.write_text(json.dumps(config), "utf-8")

    def start_prometheus(self, kind, options):
        listed = {
            "job_name": "listed",
            "metrics_path": "/probe",
            "params": {"module": ["cachepulse"]},
            "static_configs": [{"targets": ["orders", LOST, "nobody"]}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__param_target"], "target_label": "instance"},
                {"target_label": "__address__", "replacement": self.agent},
            ],
        }
        discovered = {
            "job_name": "discovered",
            "http_sd_configs": [{"url": f"http://{self.agent}/sd", "refresh_interval": "1s"}],
        }
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [discovered, listed]}
        return live.start_prometheus(kind, config, self.folder, self.stack, *options)

    def start(self, name, command):
        live.start(name, command, self.folder, self.stack)


if __name__ == "__main__":
    main()
