"""What the demo exports, read by the parsers of Prometheus' client for Python, which follow OpenMetrics to the letter, and how
many series a healthy target has. `make monitoring-test` runs it."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import urllib.request

import live
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families

FORMATS = {
    "text/plain; version=0.0.4; charset=utf-8": parser.text_string_to_metric_families,
    "application/openmetrics-text; version=1.0.0; charset=utf-8": open_families,
}


def main():
    with tempfile.TemporaryDirectory(prefix="cachepulse-") as folder, contextlib.ExitStack() as stack:
        listen = f"127.0.0.1:{live.free_port()}"
        command = [live.AGENT, "demo", "--listen", listen, "--redis-port", "0", "--identity-port", "0"]
        live.start("demo", command, pathlib.Path(folder), stack)
        live.until(lambda: live.answers(f"http://{listen}/livez"), 20, "the demo does not answer")
        # Such as a token, and an outage.
        for name in ("cachepulse_token_refreshes", "cachepulse_probe_failures"):
            live.until(lambda name=name: name in read(listen)["open"], 60, f"{name} is missing")
        the_formats_have_the_same_series(read(listen))
        the_types_are_those_of_the_descriptors(read(listen)["open"])
        names = [target["target"] for target in status(listen)["targets"]]
        for media_type, families in FORMATS.items():
            found = list(families(get(listen, f"/probe?target={names[0]}", media_type)))
            assert [family.name for family in found] == ["probe_age_seconds", "probe_duration_seconds", "probe_success"], found
        a_healthy_target_without_tls_and_identity_has_few_series(pathlib.Path(folder), stack)
    print("the parsers of Prometheus' client for Python accept text and OpenMetrics")


def a_healthy_target_without_tls_and_identity_has_few_series(folder, stack):
    port = live.free_port()
    cache = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    live.start("cache", cache, folder, stack)
    live.until(lambda: live.listens(port), 20, "redis-server does not listen")
    agents = {}
    for most, settings in (215, []), (125, ["--metrics-classic-factor", "4"]), (75, ["--metrics-histograms", "native"]):
        agents[most] = f"127.0.0.1:{live.free_port()}"
        target = ["--name", "orders", "--host", "127.0.0.1", "--port", port, "--tls", "false", "--identity", "none"]
        often = ["--interval", "1s", "--new-connection-every", "10s"]
        command = [live.AGENT, "run", "--listen", agents[most], *target, *often, *settings]
        live.start(f"agent-{most}", command, folder, stack)
    for most, listen in agents.items():
        live.until(lambda listen=listen: live.answers(f"http://{listen}/livez"), 20, "an agent does not answer")
        is_complete = lambda listen=listen: "cachepulse_new_connection_success" in read(listen)["text"]
        live.until(is_complete, 60, "no new connection is probed")
        samples = [sample for family in read(listen)["text"].values() for sample in family.samples]
        count = sum(sample.labels.get("target") == "orders" for sample in samples)
        assert most - 35 <= count <= most, f"{count} series of a target, expected {most} at most"


def get(listen, path, accept):
    request = urllib.request.Request(f"http://{listen}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Type"] == accept, response.headers
        return response.read().decode()


def status(listen):
    with urllib.request.urlopen(f"http://{listen}/status", timeout=10) as response:
        return json.load(response)


def read(listen):
    """Returns the families of each format by name."""
    parsed = [families(get(listen, "/metrics", media_type)) for media_type, families in FORMATS.items()]
    return dict(zip(("text", "open"), ({family.name: family for family in families} for families in parsed)))


def the_formats_have_the_same_series(read):
    series = lambda families: {(one.name, tuple(sorted(one.labels.items()))) for it in families.values() for one in it.samples}
    text, open_ = series(read["text"]), series(read["open"])
    # An event between the two scrapes may begin a few.
    assert len(text ^ open_) < 60 and len(text & open_) > 200, text ^ open_


def the_types_are_those_of_the_descriptors(families):
    printed = subprocess.run([live.AGENT, "metrics", "--output", "json"], capture_output=True, text=True, check=True).stdout
    described = {one["name"].removesuffix("_total"): one for one in map(json.loads, printed.splitlines())}
    for name, family in families.items():
        assert (family.type, family.documentation) == (described[name]["type"], described[name]["help"]), family


if __name__ == "__main__":
    main()
