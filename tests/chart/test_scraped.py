"""Runs the agent as the chart does with a web configuration, and asks it as the kubelet, Prometheus and `helm test` do.

Prometheus 2 and 3 scrape with what the Prometheus operator makes of the ServiceMonitor. Needs openssl and the tools of
tests/monitoring.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import yaml

import agent
from helm import ROOT, find, render
from test_chart import ci

sys.path.insert(0, str(ROOT / "tests/monitoring"))
import live  # noqa: E402

USER, PASSWORD = "prometheus", 'a "secret" of 42 & more'
WEB_CONFIG = """
tls_server_config:
  cert_file: tls.crt
  key_file: tls.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
basic_auth_users:
  """


class Certificates:
    """An authority and what it issues, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self._create("ca", "-subj", "/CN=authority")

    def issue(self, name, host):
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        self._create(name, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}", *signed)

    def _create(self, name, *options):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        command = ["openssl", "req", "-x509", *key, "-out", f"{name}.crt", "-days", "2", *options]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)


class Cluster:
    """What is in the cluster's Secrets and ConfigMaps for the values of ci/, as files."""

    def __init__(self, folder):
        self.folder = folder
        certificates = Certificates(folder)
        certificates.issue("server", "r-cachepulse.shop.svc")
        certificates.issue("client", "prometheus.shop.svc")
        (folder / "username").write_text(USER)
        (folder / "password").write_text(PASSWORD)
        self.keys = {
            ("cachepulse-tls", "tls.crt"): folder / "server.crt",
            ("cachepulse-tls", "tls.key"): folder / "server.key",
            ("cachepulse-tls", "ca.crt"): folder / "ca.crt",
            ("prometheus-client", "tls.crt"): folder / "client.crt",
            ("prometheus-client", "tls.key"): folder / "client.key",
            ("cachepulse-scrape", "username"): folder / "username",
            ("cachepulse-scrape", "password"): folder / "password",
        }

    def file(self, reference):
        """Returns the file of `{name: …, key: …}`, or that of a Secret or ConfigMap around it."""
        while "key" not in reference:
            [reference] = reference.values()
        return str(self.keys[reference["name"], reference["key"]])

    def text(self, reference):
        return Path(self.file(reference)).read_text()

    def mount_web(self):
        """Writes the folder with the web configuration, and returns it."""
        web = self.folder / "web"
        web.mkdir()
        for (name, key), file in self.keys.items():
            if name == "cachepulse-tls":
                (web / key).write_text(file.read_text())
        line = subprocess.run([agent.binary(), "hash-password"], input=PASSWORD, capture_output=True, text=True, check=True)
        (web / "web.yml").write_text(WEB_CONFIG + line.stdout)
        return web


def scrape_config(monitor, cluster):
    """Returns the scrape of a ServiceMonitor's endpoint, as the Prometheus operator (0.93) writes it. Instead of the Service's
    endpoints, which a cluster would know, it names none."""
    [endpoint] = monitor["spec"]["endpoints"]
    tls, user = endpoint["tlsConfig"], endpoint["basicAuth"]
    return {
        "job_name": f"serviceMonitor/{monitor['metadata']['namespace']}/{monitor['metadata']['name']}/0",
        "metrics_path": endpoint["path"],
        "scheme": endpoint["scheme"],
        "tls_config": {
            "ca_file": cluster.file(tls["ca"]),
            "cert_file": cluster.file(tls["cert"]),
            "key_file": cluster.file(tls["keySecret"]),
            "server_name": tls["serverName"],
            "min_version": tls["minVersion"],
        },
        "basic_auth": {"username": cluster.text(user["username"]), "password": cluster.text(user["password"])},
        "relabel_configs": [
            {"target_label": one["targetLabel"], "replacement": one["replacement"]} for one in endpoint["relabelings"]
        ],
    }


class Scraped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.folder = Path(cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="cachepulse-")))
        cls.manifest = render(ci("web-config"))
        cls.cluster = Cluster(cls.folder)
        config = find(cls.manifest, "ConfigMap")["data"]["config.yaml"].replace(agent.WEB_FOLDER, str(cls.cluster.mount_web()))
        # The ports of the container may be taken on this machine.
        config = re.sub(r"health_listen: .*", "health_listen: 127.0.0.1:0", config)
        file = agent.mount(str(cls.folder), config, ())
        log = cls.stack.enter_context(agent.running(["run", "--config", file]))
        started = re.search(r'\{.*"agent started".*\}', agent.logged(log, "agent started"))
        cls.addresses = {key: value for key, value in json.loads(started[0]).items() if key.endswith("listen")}

    def test_prometheus_scrapes_with_the_service_monitor_and_not_with_less(self):
        monitor = find(self.manifest, "ServiceMonitor")
        right = scrape_config(monitor, self.cluster)
        tls = right["tls_config"]
        jobs = {
            "right": ({}, None),
            "another password": ({"basic_auth": {"username": USER, "password": "another"}}, "401 Unauthorized"),
            "no user": ({"basic_auth": None}, "401 Unauthorized"),
            "no certificate": ({"tls_config": {**tls, "cert_file": "", "key_file": ""}}, "certificate required"),
            "another name": ({"tls_config": {**tls, "server_name": "other.shop.svc"}}, "not other.shop.svc"),
            "no tls": ({"scheme": "http"}, "400 Bad Request"),
        }
        targets = [{"targets": [self.addresses["listen"]]}]
        scrapes = []
        for name, (change, _) in jobs.items():
            keyed = [{"target_label": "tried", "replacement": name}]
            scrape = {**right, **change, "job_name": name, "static_configs": targets}
            scrape["relabel_configs"] = right["relabel_configs"] + keyed
            scrapes.append({key: value for key, value in scrape.items() if value is not None})
        config = self.folder / "prometheus.json"
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scrapes}))
        for major in "23":
            url = self.prometheus(major, config)
            live.until(lambda url=url: live.value(url, 'up{tried="right"}') == 1, 60, f"Prometheus {major} cannot scrape")
            self.assertEqual(live.value(url, 'cachepulse_build_info{job="cachepulse",tried="right"}'), 1)
            for name, (_, error) in jobs.items():
                last = lambda url=url, name=name: self.last_error(url, name)
                live.until(lambda: last() is not None, 60, f"Prometheus {major} never tried {name}")
                with self.subTest(major=major, name=name):
                    self.assertIn(error or "", last())
                    self.assertEqual(bool(error), bool(last()))
                    self.assertEqual(live.value(url, f'up{{tried="{name}"}}'), 0 if error else 1)

    def prometheus(self, major, config):
        port = live.free_port()
        command = [live.tool(f"prometheus-{major}", "prometheus"), f"--config.file={config}"]
        command += [f"--storage.tsdb.path={self.folder}/prometheus-{major}", f"--web.listen-address=127.0.0.1:{port}"]
        live.start(f"prometheus-{major}", command, self.folder, self.stack)
        url = f"http://127.0.0.1:{port}"
        live.until(lambda: live.answers(f"{url}/-/ready"), 60, f"Prometheus {major} is not ready")
        return url

    @staticmethod
    def last_error(url, name):
        """Returns the error of the last scrape of a job, or None before the first one."""
        for target in live.get(url, "/api/v1/targets")["activeTargets"]:
            if target["labels"]["tried"] == name and target["health"] != "unknown":
                return target["lastError"]
        return None

    def test_the_kubelet_asks_the_health_port_in_plain_text(self):
        for path, expected in [("/livez", 200), ("/metrics", 404)]:
            try:
                with urllib.request.urlopen(f"http://{self.addresses['health_listen']}{path}", timeout=10) as response:
                    code = response.status
            except urllib.error.HTTPError as error:
                code = error.code
            self.assertEqual(code, expected, path)

    def test_helm_test_asks_the_endpoint_with_the_files_that_it_mounts(self):
        spec = find(self.manifest, "Pod", "r-cachepulse-test-service")["spec"]
        [container], [volume] = spec["containers"], spec["volumes"]
        mounted = Path(tempfile.mkdtemp(dir=self.folder))
        for source in volume["projected"]["sources"]:
            [one] = source.values()
            for item in one["items"]:
                (mounted / item["path"]).write_text(self.cluster.text({"name": one["name"], "key": item["key"]}))
        variables = {
            "$(R_CACHEPULSE_SERVICE_HOST):443": self.addresses["listen"],
            "$(SCRAPE_USERNAME)": self.cluster.text(container["env"][0]["valueFrom"]["secretKeyRef"]),
            container["volumeMounts"][0]["mountPath"]: str(mounted),
        }
        arguments = []
        for argument in container["args"]:
            for variable, value in variables.items():
                argument = argument.replace(variable, value)
            arguments.append(argument)

        def ask():
            return subprocess.run([agent.binary(), *arguments], capture_output=True, text=True, env={}, timeout=60)

        asked = ask()
        self.assertEqual((asked.returncode, asked.stdout + asked.stderr), (0, ""))
        (mounted / "password-file").write_text("another")
        refused = ask()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("401 Unauthorized", refused.stderr)


if __name__ == "__main__":
    unittest.main()
