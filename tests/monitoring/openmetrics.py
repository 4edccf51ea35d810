"""What the demo exports, read by the parsers of Prometheus' client for Python, which follow OpenMetrics to the letter, and by
Google's decoder of protobuf; and how many series a healthy target has. `make monitoring-test` runs it."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import urllib.request

import live
import protobuf
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
FORMATS = {
    TEXT: lambda body: parser.text_string_to_metric_families(body.decode()),
    OPEN: lambda body: open_families(body.decode()),
    PROTOBUF: protobuf.families,
}
TOKEN = "token-of-the-test"
# ping, set, get and client_list.
STEPS = 4


def main():
    with tempfile.TemporaryDirectory(prefix="cachepulse-") as folder, contextlib.ExitStack() as stack:
        listen = f"127.0.0.1:{live.free_port()}"
        command = [live.AGENT, "demo", "--listen", listen, "--redis-port", "0", "--identity-port", "0"]
        live.start("demo", command, pathlib.Path(folder), stack)
        live.until(lambda: live.answers(f"http://{listen}/livez"), 20, "the demo does not answer")
        # Such as a token, and an outage.
        for name in ("cachepulse_token_refreshes", "cachepulse_probe_failures"):
            live.until(lambda name=name: name in read(listen, OPEN), 60, f"{name} is missing")
        the_formats_have_the_same_series(listen)
        the_types_are_those_of_the_descriptors(read(listen, OPEN))
        the_types_are_those_of_the_descriptors(read(listen, PROTOBUF))
        names = [target["target"] for target in status(listen)["targets"]]
        for media_type in FORMATS:
            found = read(listen, media_type, f"/probe?target={names[0]}")
            assert list(found) == ["probe_age_seconds", "probe_duration_seconds", "probe_success"], found
        a_healthy_target_has_few_series(pathlib.Path(folder), stack)
    print("the parsers of Prometheus' client for Python accept text and OpenMetrics, and Google's decoder accepts protobuf")


def a_healthy_target_has_few_series(folder, stack):
    """Both without TLS and identity, and as in Azure: tokens and TLS add phases of opening a connection, and the server agrees
    to send notices of maintenance."""
    ports = start_cache(folder, stack)
    (folder / "token").write_text(TOKEN, "utf-8")
    common = {"host": "127.0.0.1", "interval": "1s", "new_connection": {"every": "10s"}}
    targets = {
        "plain": {"port": ports["--port"], "tls": False, "identity": {"type": "none"}},
        "secured": {
            "port": ports["--tls-port"],
            "tls": {"ca_file": str(folder / "cert.pem"), "server_name": "localhost"},
            "identity": {"type": "token", "token": {"file": str(folder / "token")}},
            "username": "probe",
            "maintenance": "on",
        },
    }
    targets = [{"name": name, **common, **settings} for name, settings in targets.items()]
    agents = {}
    for most, settings in (215, {}), (125, {"classic_factor": 4}), (75, {"histograms": "native"}):
        agents[most] = f"127.0.0.1:{live.free_port()}"
        config = folder / f"agent-{most}.yaml"
        config.write_text(json.dumps({"metrics": settings, "targets": targets}), "utf-8")
        command = [live.AGENT, "run", "--listen", agents[most], "--config", config]
        live.start(f"agent-{most}", command, folder, stack)
    for most, listen in agents.items():
        live.until(lambda listen=listen: live.answers(f"http://{listen}/livez"), 20, "an agent does not answer")
        for target in targets:
            name = target["name"]
            complete = live.until(lambda listen=listen, name=name: complete_series(listen, name), 60, f"{name} is not complete")
            count = len(complete)
            assert most / 2 < count <= most, f"{name}: {count} series, expected {most} at most"


def start_cache(folder, stack):
    """Starts a server without and with TLS, whose user `probe` has the token as password. Returns its ports."""
    certificate = "req -x509 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -newkey rsa:2048"
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *certificate.split(), *files], cwd=folder, check=True, capture_output=True)
    ports = {option: live.free_port() for option in ("--port", "--tls-port")}
    tls = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no"]
    user = ["--user", "probe", "on", f">{TOKEN}", "~*", "&*", "+@all"]
    listen = [word for option in ports.items() for word in option]
    cache = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--dir", folder, *listen, *tls, *user]
    live.start("cache", cache, folder, stack)
    for port in ports.values():
        live.until(lambda port=port: live.listens(port), 20, "redis-server does not listen")
    return ports


def series(listen, target):
    """Returns the series of one target."""
    samples = [sample for family in read(listen, TEXT).values() for sample in family.samples]
    return [sample for sample in samples if sample.labels.get("target") == target]


def complete_series(listen, target):
    """Returns the series of a target whose every step and new connection have succeeded. A new connection may be probed
    before the first tick."""
    found = series(listen, target)
    values = {sample.name: sample.value for sample in found}
    succeeded = ("cachepulse_probe_success", "cachepulse_new_connection_success")
    steps = [sample for sample in found if sample.name == "cachepulse_step_results_total"]
    is_complete = all(values.get(name) == 1 for name in succeeded) and len(steps) == STEPS
    return found if is_complete else None


def get(listen, path, accept):
    request = urllib.request.Request(f"http://{listen}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Type"] == accept, response.headers
        return response.read()


def status(listen):
    with urllib.request.urlopen(f"http://{listen}/status", timeout=10) as response:
        return json.load(response)


def read(listen, media_type, path="/metrics"):
    """Returns the families of a page by name."""
    return {family.name: family for family in FORMATS[media_type](get(listen, path, media_type))}


def the_formats_have_the_same_series(listen):
    def key(sample):
        labels = {name: float(value) if name == "le" else value for name, value in sample.labels.items()}
        return sample.name, tuple(sorted(labels.items()))

    formats = [{key(one) for family in read(listen, it).values() for one in family.samples} for it in FORMATS]
    for other in formats[1:]:
        # An event between two scrapes may begin a few.
        assert len(formats[0] ^ other) < 60 and len(formats[0] & other) > 200, formats[0] ^ other


def the_types_are_those_of_the_descriptors(families):
    printed = subprocess.run([live.AGENT, "metrics", "--output", "json"], capture_output=True, text=True, check=True).stdout
    described = {one["name"].removesuffix("_total"): one for one in map(json.loads, printed.splitlines())}
    for name, family in families.items():
        assert (family.type, family.documentation) == (described[name]["type"], described[name]["help"]), family


if __name__ == "__main__":
    main()
