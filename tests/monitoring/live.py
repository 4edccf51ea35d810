"""Tests the whole chain on loopback: caches, agents, Prometheus 2.42, 2 and 3 with the rules, Alertmanager, a webhook.

One agent probes a redis-server and a cluster that this test stops and starts. Another agent is the demo, with its tokens,
TLS and outages. Two more are a fleet, both of which probe the redis-server. Prometheus 3 runs three times: with classic
histograms, with the agent's native histograms, and with those that it converts from classic ones. Prometheus 2 runs with
classic and with native histograms, 2.42 with classic ones.

The test uses a copy of the rules in which all durations are divided by SCALE: a minute takes six seconds. Nothing else
is changed. `make monitoring-test` runs it. With --picture FILE it also draws the dashboard from the recorded data.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import dashboard

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/monitoring/tools"
AGENT = ROOT / "target/debug/cachepulse"
SCALE = 10
# Long enough for a rate over the shortest window of the dashboard with one scrape per second.
RATE_INTERVAL = "10s"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--picture", metavar="FILE", help="draw the dashboard (needs matplotlib)")
    picture = arguments.parse_args().picture
    with tempfile.TemporaryDirectory(prefix="cachepulse-") as folder, contextlib.ExitStack() as stack:
        started = time.time()
        chain = Chain(pathlib.Path(folder), stack)
        chain.await_healthy()
        say("all processes run")
        a_failover_fires_nothing(chain)
        an_outage_fires_and_resolves(chain)
        a_dead_shard_pages_once_and_a_dead_cluster_as_one_cache(chain)
        announced_maintenance_mutes_warnings_and_no_page(chain)
        the_rules_are_valid(chain)
        the_metrics_are_valid(chain)
        the_dashboard_shows_data(chain)
        if picture:
            # Imported here, because only the picture needs matplotlib.
            import picture as painter

            time.sleep(60)
            painter.draw(chain.prometheus["3"], started, time.time(), RATE_INTERVAL, picture)
        an_agent_that_waits_fires_until_it_has_a_configuration(chain)


def a_failover_fires_nothing(chain):
    chain.stop_cache()
    time.sleep(10 / SCALE)
    chain.start_cache()
    time.sleep(90 / SCALE)
    fired = [alert["labels"]["alertname"] for alert in chain.webhook.about("orders")]
    assert not fired, f"a failover of 10 s fired {fired}"
    say("a failover of 10 s fired nothing")


def an_outage_fires_and_resolves(chain):
    seen = len(chain.webhook.alerts)
    chain.stop_cache()
    warning = chain.webhook.wait_for("CachepulseCacheFailing", "firing", start=seen)
    page = chain.webhook.wait_for("CachepulseCacheDown", "firing", start=seen)
    for alert, severity in (warning, "warning"), (page, "critical"):
        labels = alert["labels"]
        expected = {"severity": severity, "namespace": "shop", "target": "orders"}
        assert {name: labels.get(name) for name in expected} == expected, labels
        assert set(labels) == {"alertname", *expected}, labels
        annotations = alert["annotations"]
        assert "reason: connect_refused." in annotations["description"], annotations
        assert annotations["runbook_url"].endswith(f"/{labels['alertname']}.md"), annotations
    say(f"fired: {page['annotations']['summary']} {page['annotations']['description']}")
    page = chain.webhook.wait_for("CachepulseCacheDown", "firing", target="catalog", start=seen)
    assert set(page["labels"]) == {"alertname", *expected}, f"one alert for both copies: {page['labels']}"
    chain.start_cache()
    chain.webhook.wait_for("CachepulseCacheDown", "resolved", start=seen)
    chain.webhook.wait_for("CachepulseErrorBudgetBurningFast", "firing")
    say("the alert resolved, and the budget alert fired")


def a_dead_shard_pages_once_and_a_dead_cluster_as_one_cache(chain):
    webhook = chain.webhook
    chain.cluster.stop_shard()
    page = webhook.wait_for("CachepulseShardDown", "firing", target="sessions", receiver="pager")
    assert page["labels"]["severity"] == "critical", page
    assert page["annotations"]["description"].startswith("1 of the shards of the cache sessions "), page
    say(f"fired: {page['annotations']['summary']} {page['annotations']['description']}")
    # The budget burns as fast as for a whole cache. Its alert fires in Prometheus, and Alertmanager mutes it.
    burning = 'ALERTS{alertname="CachepulseErrorBudgetBurningFast",target="sessions",alertstate="firing"}'
    until(lambda: query(chain.prometheus["3"], burning), 60, "the budget alert never fired")
    time.sleep(60 / SCALE)
    pages = {alert["labels"]["alertname"] for alert in webhook.about("sessions", "pager")}
    assert pages == {"CachepulseShardDown"}, f"one fault paged as {pages}"
    chain.cluster.start_shard()
    webhook.wait_for("CachepulseShardDown", "resolved", target="sessions", receiver="pager")
    say("a dead shard paged once, and the alert resolved")

    seen = len(webhook.alerts)
    chain.cluster.stop()
    webhook.wait_for("CachepulseCacheDown", "firing", target="sessions", receiver="pager")
    time.sleep(60 / SCALE)
    late = {alert["labels"]["alertname"] for alert in webhook.about("sessions", "pager", seen) if alert["status"] == "firing"}
    # The shards fall one after another, so that the first of them may page before the whole cache does.
    assert late <= {"CachepulseCacheDown", "CachepulseErrorBudgetBurningFast"}, f"a dead cluster paged as {late}"
    chain.cluster.start()
    webhook.wait_for("CachepulseCacheDown", "resolved", target="sessions", receiver="pager")
    say("a dead cluster paged as one cache")


def announced_maintenance_mutes_warnings_and_no_page(chain):
    """With the additional rule and inhibition of docs/alerting.md."""
    active = 'cachepulse_maintenance_active{target="orders"}'
    chain.announce("NodeMaintenanceStart")
    until(lambda: value(chain.prometheus["3"], active) == 1, 20, "the notice is not counted")
    # The series of its event begins with this notice.
    annotations = dict(dashboard.annotations(dashboard.load(dashboard.FILE)))
    shown = lambda: query(chain.prometheus["3"], annotations["Maintenance notices"])
    assert [series["metric"]["event"] for series in until(shown, 20, "the notice is not shown")] == ["node_maintenance_start"]
    until(lambda: "CachepulseMaintenance" in chain.known_alerts(), 60, "the maintenance does not fire")
    seen = len(chain.webhook.alerts)
    chain.stop_cache()
    failing = 'ALERTS{alertname="CachepulseCacheFailing",target="orders",alertstate="firing"}'
    until(lambda: query(chain.prometheus["3"], failing), 60, "the cache never failed")
    chain.webhook.wait_for("CachepulseCacheDown", "firing", receiver="pager", start=seen)
    chain.start_cache()
    chain.webhook.wait_for("CachepulseCacheDown", "resolved", receiver="pager", start=seen)
    names = {alert["labels"]["alertname"] for alert in chain.webhook.about("orders", start=seen) if alert["status"] == "firing"}
    assert "CachepulseCacheFailing" not in names, f"maintenance was announced, but {names} arrived"
    chain.announce("NodeMaintenanceEnded")
    until(lambda: value(chain.prometheus["3"], active) == 0, 20, "the maintenance does not end")
    arrived = {alert["labels"]["alertname"] for alert in chain.webhook.alerts}
    assert "CachepulseMaintenance" not in arrived, "it only inhibits"
    say("announced maintenance muted the warning of an outage, and the page arrived")


def an_agent_that_waits_fires_until_it_has_a_configuration(chain):
    """As a sidecar whose ConfigMap is missing at first."""
    seen = len(chain.webhook.alerts)
    config = chain.start_waiting_agent()
    rejected = "CachepulseConfigurationRejected"
    alert = chain.webhook.wait_for(rejected, "firing", target=None, start=seen)
    say(f"fired: {alert['annotations']['summary']} {alert['annotations']['description']}")
    time.sleep(60 / SCALE)
    late = {one["labels"]["alertname"] for one in chain.webhook.alerts if one["labels"].get("namespace") == "late"}
    assert late == {rejected}, f"an agent that waits fired {late}"
    chain.configure(config)
    chain.webhook.wait_for(rejected, "resolved", target=None, start=seen)
    until(lambda: query(chain.prometheus["3"], 'cachepulse_probe_success{namespace="late"} == 1'), 60, "it never probed")
    say("an agent without a configuration fired, and began when it had one")


def the_rules_are_valid(chain):
    """All of them evaluate every rule without an error, and no annotation template fails."""
    for name, url in chain.prometheus.items():
        groups = get(url, "/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        for rule in rules:
            assert rule["health"] == "ok", f"Prometheus {name}: {rule['name']}: {rule.get('lastError')}"
            for alert in rule.get("alerts", []):
                assert "<error" not in str(alert["annotations"]), alert
    for alert in chain.webhook.alerts:
        assert "<error" not in str(alert["annotations"]), alert
    for name in re.findall(r"- record: (\S+)", (ROOT / "deploy/prometheus/rules.yaml").read_text("utf-8")):
        for version, url in chain.prometheus.items():
            until(lambda url=url, name=name: query(url, name), 60, f"Prometheus {version}: {name} records nothing")
    say("Prometheus 2.42, 2 and 3 evaluate and record every rule, with classic, native and converted histograms")


def the_metrics_are_valid(chain):
    """Every metric in the rules is defined, and promtool accepts all metrics."""
    exposed = set()
    for address in chain.agents:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
            text = response.read()
        exposed.update(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
        for release in "old", "2", "3":
            promtool = [tool(f"prometheus-{release}", "promtool"), "check", "metrics"]
            done = subprocess.run(promtool, input=text, capture_output=True, check=False)
            assert done.returncode == 0, f"promtool {release}: {done.stdout.decode()}{done.stderr.decode()}"
            assert not done.stdout + done.stderr, done
    # A series appears with its first event, which a series of the rules may lack here.
    described = subprocess.run([AGENT, "metrics", "--output", "json"], capture_output=True, text=True, check=True).stdout
    defined = {json.loads(line)["name"] for line in described.splitlines()}
    rules = (ROOT / "deploy/prometheus/rules.yaml").read_text("utf-8")
    for name in set(re.findall(r"\bcachepulse_\w+", rules)):
        assert re.sub(r"_bucket$", "", name) in defined, f"{name} is in the rules, but no agent exports it"
    say(f"promtool accepts {len(exposed)} metrics")


def the_dashboard_shows_data(chain):
    """Every query of every panel returns data in all of them, and none has rejected a scrape."""
    board = dashboard.load(ROOT / "deploy/grafana/dashboard.json")
    dashboard.check(board)
    count = 0
    for name, url in chain.prometheus.items():
        for title, text in dashboard.queries(board, RATE_INTERVAL, "2m"):
            # Some queries need the demo's first token renewal, after about 45 s.
            shows = lambda url=url, text=text: any(has_number(series) for series in query(url, text))
            until(shows, 90, f"Prometheus {name}: {title}: no data: {text}")
            count += 1
        for title, text in dashboard.annotations(board):
            query(url, text)
    for name, url in chain.prometheus.items():
        histogram = "cachepulse_step_duration_seconds"
        is_native = "-" in name
        native, classic = query(url, histogram), query(url, f"{histogram}_bucket")
        assert bool(native) == is_native and bool(classic) != is_native, f"Prometheus {name}: wrong kind of histograms"
        # Such as for a histogram whose count is not that of its buckets. A scrape that takes too long is not meant.
        log = (chain.folder / f"prometheus-{name}.log").read_text("utf-8", "replace")
        rejected = [line for line in log.splitlines() if "Append failed" in line]
        assert not rejected, f"Prometheus {name} has rejected scrapes: {rejected[0]}"
    say(f"{count} queries of the dashboard returned data")


class Chain:
    """All processes of the test."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.cache, self.cache_port = None, free_port()
        stack.callback(lambda: self.cache and self.stop_cache())
        self.start_cache()
        self.cluster = Cluster(folder / "cluster", stack)
        self.webhook = Webhook(stack)
        # Each with the namespace that Prometheus gives it.
        self.agents = {f"127.0.0.1:{free_port()}": namespace for namespace in ("shop", "demo", "fleet", "fleet")}
        # Agents that start later.
        self.discovered = folder / "discovered.json"
        self._start_agents()
        extra_rules, extra_config = planned_maintenance()
        self.alertmanager = self._start_alertmanager(extra_config)
        rules = folder / "rules.yaml"
        text = (ROOT / "deploy/prometheus/rules.yaml").read_text("utf-8")
        text += "\n- name: maintenance\n  rules:\n" + textwrap.indent(extra_rules, "  ")
        rules.write_text(scaled(text), "utf-8")
        self.prometheus = {
            "old": self._start_prometheus("old", rules, None),
            "2": self._start_prometheus("2", rules, None),
            "2-native": self._start_prometheus("2-native", rules, None),
            "3": self._start_prometheus("3", rules, self.alertmanager),
            "3-native": self._start_prometheus("3-native", rules, None),
            "3-converted": self._start_prometheus("3-converted", rules, None),
        }

    def start_cache(self):
        command = ["redis-server", "--port", self.cache_port, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.cache = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)

    def stop_cache(self):
        self.cache.kill()
        self.cache.wait()

    def announce(self, kind):
        """Publishes a notice of maintenance as Azure does, until the agent has subscribed."""
        words = ["publish", "AzureRedisEvents", f"NotificationType|{kind}|StartTimeInUTC||IsReplica|False"]
        command = ["redis-cli", "-p", str(self.cache_port), *words]
        is_heard = lambda: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "1"
        until(is_heard, 20, "the agent does not subscribe")

    def known_alerts(self):
        """Returns the names of the alerts that Alertmanager knows."""
        with urllib.request.urlopen(f"http://{self.alertmanager}/api/v2/alerts", timeout=5) as response:
            return {alert["labels"]["alertname"] for alert in json.load(response)}

    def await_healthy(self):
        """Waits until every Prometheus has recorded a success of every target."""
        for url in self.prometheus.values():
            until(lambda url=url: len(query(url, "cachepulse_last_success_timestamp_seconds")) == 6, 60, "no success")

    def _start_agents(self):
        shop, demo, *fleet = self.agents
        config = self.folder / "cachepulse.yaml"
        config.write_text(
            f"http: {{listen: '{shop}'}}\n"
            "targets:\n"
            f"- {{name: orders, host: 127.0.0.1, port: {self.cache_port}, tls: false, identity: none, interval: 1s,"
            " maintenance: on}\n"
            f"- {{name: sessions, host: 127.0.0.1, port: {self.cluster.ports[0]}, tls: false, identity: none, interval: 1s,"
            " cluster: {mode: all, refresh: 10s}}\n"
            f"- {{name: carts, sentinel: {{service: carts, addresses: ['127.0.0.1:{self._start_sentinel()}']}}, tls: false,"
            " identity: none, interval: 1s}\n",
            "utf-8",
        )
        self._start("agent", [AGENT, "run", "--config", config])
        self._start("demo", [AGENT, "demo", "--listen", demo, "--redis-port", "0", "--identity-port", "0"])
        shared = self.folder / "fleet.yaml"
        shared.write_text(f"partition: {{of: {len(fleet)}, copies: 2}}\n{self._targets('catalog')}", "utf-8")
        for index, listen in enumerate(fleet):
            command = [AGENT, "run", "--config", shared, "--partition-index", index, "--listen", listen]
            self._start(f"fleet-{index}", command)

    def start_waiting_agent(self):
        """Starts an agent without its configuration, whose path is returned, and has it scraped."""
        listen, config = f"127.0.0.1:{free_port()}", self.folder / "late.yaml"
        command = [AGENT, "run", "--config", config, "--on-invalid-config", "wait", "--listen", listen]
        self._start("late", command)
        self.discovered.write_text(json.dumps([{"targets": [listen], "labels": {"namespace": "late"}}]), "utf-8")
        return config

    def configure(self, config):
        config.write_text(self._targets("late"), "utf-8")

    def _targets(self, name):
        """Returns the key `targets` of an agent that probes only the redis-server."""
        target = f"{{name: {name}, host: 127.0.0.1, port: {self.cache_port}, tls: false, identity: none, interval: 1s}}"
        return f"targets: [{target}]\n"

    def _start_sentinel(self):
        """Starts a cache and a sentinel that names it. Returns the sentinel's port."""
        port, sentinel = free_port(), free_port()
        self._start("carts", ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder])
        config = self.folder / "sentinel.conf"
        config.write_text(f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor carts 127.0.0.1 {port} 1\n", "utf-8")
        self._start("sentinel", ["redis-server", config, "--sentinel"])
        return sentinel

    def _start_alertmanager(self, extra_config):
        port = free_port()
        text = (ROOT / "deploy/prometheus/alertmanager.yaml").read_text("utf-8")
        text = scaled(with_items(text, extra_config))
        config = self.folder / "alertmanager.yaml"
        config.write_text(text.replace("127.0.0.1:9099", f"127.0.0.1:{self.webhook.port}"), "utf-8")
        command = [
            tool("alertmanager", "prometheus-alertmanager", "alertmanager"),
            f"--config.file={config}",
            f"--storage.path={self.folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        self._start("alertmanager", with_templates(command))
        return f"127.0.0.1:{port}"

    def _start_prometheus(self, name, rules, alertmanager):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "cachepulse",
                    "static_configs": [
                        {"targets": [listen], "labels": {"namespace": namespace}} for listen, namespace in self.agents.items()
                    ],
                    "file_sd_configs": [{"files": [str(self.discovered)], "refresh_interval": "1s"}],
                }
            ],
        }
        # Rejected scrapes are logged.
        options = ["--rules.alert.resend-delay=1s", "--log.level=debug"]
        if name.endswith(("-native", "-converted")):
            options.append("--enable-feature=native-histograms")
        if name.endswith("-converted"):
            # Without protobuf, which it would prefer, the agent sends only classic histograms.
            config["scrape_configs"][0]["convert_classic_histograms_to_nhcb"] = True
            config["scrape_configs"][0]["scrape_protocols"] = ["OpenMetricsText1.0.0"]
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        return start_prometheus(name, config, self.folder, self.stack, *options)

    def _start(self, name, command):
        start(name, command, self.folder, self.stack)


class Cluster:
    """Three primaries, each with a replica. A shard that is lost does not stop the others."""

    OPTIONS = (
        "--bind 127.0.0.1 --cluster-enabled yes --cluster-node-timeout 1000 --cluster-require-full-coverage no "
        "--repl-ping-replica-period 1 --repl-diskless-sync-delay 0 --appendonly no"
    ).split()

    def __init__(self, folder, stack):
        self.folder = folder
        self.ports = [free_port() for _ in range(6)]
        self.buses = [free_port() for _ in range(6)]
        self.nodes = [None] * 6
        stack.callback(self.stop)
        self.start()
        nodes = [f"127.0.0.1:{port}" for port in self.ports]
        for port in self.ports:
            until(lambda port=port: listens(port), 20, f"the node on port {port} does not listen")
        # Options for each node's bus are not known to redis-cli, so the nodes are introduced here.
        for port, bus in zip(self.ports[1:], self.buses[1:]):
            self._ask(0, "cluster", "meet", "127.0.0.1", port, bus)
        for node, slots in enumerate(["0 5460", "5461 10922", "10923 16383"]):
            self._ask(node, "cluster", "addslotsrange", *slots.split())
            self._ask(node, "cluster", "set-config-epoch", node + 1)
        for node in range(3):
            primary = self._ask(node, "cluster", "myid")
            replicate = lambda node=node, primary=primary: self._ask(node + 3, "cluster", "replicate", primary) == "OK"
            until(replicate, 20, "a replica does not find its primary")
        for node in range(6):
            complete = lambda node=node: self._ask(node, "--raw", "cluster", "slots").count("127.0.0.1") == len(nodes)
            until(complete, 20, "the cluster is not complete")

    def stop_shard(self):
        """Kills the replica of the second shard, then its primary: nobody takes over."""
        self._kill(self._replica())
        self._kill(self._primary())

    def start_shard(self):
        self.start()

    def start(self):
        for node, port in enumerate(self.ports):
            if self.nodes[node] is None:
                home = self.folder / str(port)
                home.mkdir(parents=True, exist_ok=True)
                command = ["redis-server", "--port", port, "--cluster-port", self.buses[node], "--dir", home, "--save", ""]
                self.nodes[node] = subprocess.Popen(
                    [str(word) for word in [*command, *self.OPTIONS]], stdout=subprocess.DEVNULL
                )

    def stop(self):
        for node in range(6):
            self._kill(node)

    def _primary(self):
        return next(node for node in (1, 4) if self._ask(node, "role").startswith("master"))

    def _replica(self):
        return 5 - self._primary()

    def _kill(self, node):
        if self.nodes[node]:
            self.nodes[node].kill()
            self.nodes[node].wait()
            self.nodes[node] = None

    def _ask(self, node, *words):
        command = ["redis-cli", "-p", self.ports[node], *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip()


class Webhook:
    """A webhook that receives the notifications of Alertmanager."""

    def __init__(self, stack):
        self.alerts = []
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver = self.path.strip("/")
                webhook.alerts.extend(dict(alert, receiver=receiver) for alert in json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)

    def about(self, target, receiver=None, start=0):
        """Returns the alerts about a target, in the order in which they came."""
        alerts = [alert for alert in list(self.alerts)[start:] if alert["labels"].get("target") == target]
        return [alert for alert in alerts if receiver in (None, alert["receiver"])]

    def wait_for(self, name, status, target="orders", receiver=None, start=0):
        def found():
            for alert in self.about(target, receiver, start):
                if alert["labels"]["alertname"] == name and alert["status"] == status:
                    return alert
            return None

        return until(found, 90, f"{name} never arrived as {status}")


def planned_maintenance():
    """Returns the rules, and the parts of Alertmanager's configuration, that docs/alerting.md proposes."""
    _, section = (ROOT / "docs/alerting.md").read_text("utf-8").split("### Planned maintenance\n", 1)
    rules, config = re.findall(r"^```yaml\n# (?:rules|Alertmanager)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[:2]
    return rules, config


def with_items(text, additions):
    """Adds the items of lists to the lists of the same keys."""
    for key, items in re.findall(r"^( *\w+:)\n((?: *- .*\n(?: +(?!- ).*\n)*)+)", additions, re.MULTILINE):
        assert f"\n{key}\n" in text, key
        text = text.replace(f"\n{key}\n", f"\n{key}\n{items}", 1)
    return text


def scaled(text):
    """Returns the rules with shorter durations, in windows and in the values of keys."""

    def shorter(match):
        return f"{int(match[1]) * UNITS[match[2]] * 1000 // SCALE}ms"

    def window(match):
        return re.sub(r"(\d+)([smhd])", shorter, match[0])

    text = re.sub(r"\[\d+[smhd](:\d+[smhd])?\]|\boffset \d+[smhd]\b", window, text)
    return re.sub(r"(?m)^ *(for|interval|group_wait|group_interval): \d+[smhd]$", window, text)


def with_templates(command):
    """Mounts the templates over /usr/share for this process, because Debian's Alertmanager reads them from there."""
    templates = TOOLS / "alertmanager/usr/share"
    if not templates.is_dir() or pathlib.Path("/usr/share/prometheus/alertmanager/default.tmpl").exists():
        return command
    script = 'mount -t overlay overlay -o "lowerdir=$0:/usr/share" /usr/share && exec "$@"'
    privilege = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *privilege, "--mount", "sh", "-c", script, templates, *command]


def start(name, command, folder, stack):
    """Runs a program until the stack unwinds. If it or the test has failed, shows the end of its log."""
    path = folder / f"{name}.log"
    log = stack.enter_context(open(path, "wb"))
    process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, cwd=folder)

    def stop():
        ended = process.poll()
        process.terminate()
        process.wait(timeout=20)
        if ended is not None or sys.exc_info()[0]:
            sys.stderr.write(f"--- {name}, exit code {ended}\n")
            sys.stderr.write("".join(path.read_text("utf-8", "replace")[-2000:]))

    stack.callback(stop)


def start_prometheus(name, config, folder, stack, *options):
    """Runs the Prometheus whose release is before the first hyphen of the name. Returns its address."""
    port, path = free_port(), folder / f"prometheus-{name}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(config), "utf-8")
    command = [
        tool(f"prometheus-{name.split('-')[0]}", "prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder}/prometheus-{name}",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    ]
    start(f"prometheus-{name}", command, folder, stack)
    url = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{url}/-/ready"), 60, f"Prometheus {name} is not ready")
    return url


def tool(folder, *names):
    for name in names:
        path = TOOLS / folder / "usr/bin" / name
        if path.exists():
            return path
    sys.exit(f"{folder}/{names[0]} is missing; run tests/monitoring/tools")


def query(url, text):
    return get(url, "/api/v1/query?" + urllib.parse.urlencode({"query": text}))["result"]


def get(url, path):
    try:
        with urllib.request.urlopen(url + path, timeout=10) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.read().decode()}") from error


def value(url, text):
    """Returns the value of the first series."""
    return next((float(series["value"][1]) for series in query(url, text)), None)


def has_number(series):
    return "histogram" in series or series["value"][1] != "NaN"


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
        return True
    return False


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(found, seconds, complaint):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError(f"{complaint} (waited for {seconds} s)")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    for program in ("redis-server", "redis-cli", AGENT):
        if not shutil.which(program):
            sys.exit(f"{program} is missing; run: make redis-server && cargo build")
    main()
