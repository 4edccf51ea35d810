"""Tests of the chart with a web configuration: what is mounted, which port the kubelet asks, and how Prometheus signs in."""

import tempfile
import unittest

import yaml

import agent
from helm import SMALLEST, find, render
from test_chart import InTheParentChart, ci, own_containers

FOLDER = agent.WEB_FOLDER


def agent_of(manifest):
    """Returns the agent's container and the volumes of its pod."""
    pod = find(manifest, "Deployment")["spec"]["template"]
    return own_containers(pod)[0], {volume["name"]: volume for volume in pod["spec"]["volumes"]}


def probed(container):
    """Returns the ports that the kubelet asks."""
    return {container[probe]["httpGet"]["port"] for probe in container if probe.endswith("Probe")}


def with_values(settings, *files):
    """Renders the smallest values with others on top."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(settings, file)
        return render(*(files or (SMALLEST,)), file.name)


class Mounted(unittest.TestCase):
    def test_everything_in_the_secrets_is_in_the_folder_of_the_web_configuration(self):
        container, volumes = agent_of(render(ci("web-config")))
        sources = volumes["cachepulse-web-config"]["projected"]["sources"]
        self.assertEqual(sources, [{"secret": {"name": "cachepulse-web"}}, {"secret": {"name": "cachepulse-tls"}}])
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        self.assertEqual(mounts["cachepulse-web-config"], {"name": "cachepulse-web-config", "mountPath": FOLDER, "readOnly": True})
        self.assertEqual(container["args"], ["run", "--config", f"{agent.FOLDER}/config.yaml"])
        config = yaml.safe_load(find(render(ci("web-config")), "ConfigMap")["data"]["config.yaml"])
        expected = {"listen": "0.0.0.0:8443", "web_config_file": f"{FOLDER}/web.yml", "health_listen": "0.0.0.0:8081"}
        self.assertEqual(config["http"], expected)

    def test_flags_say_it_where_the_configuration_is_not_the_charts(self):
        web = {"webConfig": {"existingSecret": "web"}, "service": {"enabled": False}}
        container, _ = agent_of(with_values(web, ci("existing-config-map")))
        self.assertEqual(container["args"][3:], ["--web-config-file", f"{FOLDER}/web-config.yml", "--health-listen", "[::]:9861"])

    def test_a_secret_in_both_places_is_mounted_once(self):
        web = {"webConfig": {"existingSecret": "web", "tlsSecret": "web"}}
        _, volumes = agent_of(with_values(web))
        self.assertEqual(volumes["cachepulse-web-config"]["projected"]["sources"], [{"secret": {"name": "web"}}])

    def test_a_sidecar_waits_for_the_secret_and_serves_its_health_meanwhile(self):
        manifest = InTheParentChart.render(ci("sidecar-web-config"))
        container, volumes = agent_of(manifest)
        [source] = volumes["cachepulse-web-config"]["projected"]["sources"]
        self.assertEqual(source, {"secret": {"name": "cachepulse-web", "optional": True}})
        self.assertIn("--on-invalid-config wait --listen [::]:9860", " ".join(container["args"]))
        self.assertEqual(container["args"][-2:], ["--health-listen", "[::]:9861"])
        paths = agent.mounted(volumes["cachepulse-config"])
        agent.begins_when_mounted(container["args"], find(manifest, "ConfigMap")["data"]["config.yaml"], paths)

    def test_without_a_web_configuration_there_is_neither_volume_nor_port(self):
        container, volumes = agent_of(render(SMALLEST))
        self.assertEqual(set(volumes), {"cachepulse-config"})
        self.assertEqual(container["args"], ["run", "--config", "/etc/cachepulse/config.yaml"])
        self.assertEqual((len(container["ports"]), probed(container)), (1, {"http"}))


class Health(unittest.TestCase):
    def test_the_kubelet_asks_a_port_that_nobody_else_reaches(self):
        manifest = render(ci("web-config"))
        container, _ = agent_of(manifest)
        self.assertEqual([port["containerPort"] for port in container["ports"]], [8443, 8081])
        self.assertEqual(probed(container), {8081})
        self.assertEqual([port["targetPort"] for port in find(manifest, "Service")["spec"]["ports"]], ["http"])
        policy = find(manifest, "NetworkPolicy", "r-cachepulse")["spec"]
        self.assertEqual([rule["ports"] for rule in policy["ingress"]], [[{"protocol": "TCP", "port": 8443}]])

    def test_the_kubelet_asks_a_sidecars_health_port(self):
        container, _ = agent_of(InTheParentChart.render(ci("sidecar-web-config")))
        self.assertEqual(probed(container), {9861})
        # Names of ports are unique in the pod, which is the application's.
        self.assertEqual([port.get("name") for port in container["ports"]], ["cachepulse-http", None])

    def test_a_health_endpoint_of_the_configuration_is_asked_where_it_is(self):
        http = {"listen": "[::]:9860", "health_listen": "[::]:9899", "web_config_file": "/web/web.yml"}
        container, _ = agent_of(with_values({"config": {"http": http}}))
        self.assertEqual(probed(container), {9899})
        self.assertNotIn("--health-listen", container["args"])


class Scraped(unittest.TestCase):
    def endpoint(self, manifest, kind="ServiceMonitor"):
        spec = find(manifest, kind)["spec"]
        return (spec.get("endpoints") or spec["podMetricsEndpoints"])[0]

    def test_prometheus_checks_the_certificate_for_the_name_of_the_service_and_signs_in(self):
        endpoint = self.endpoint(render(ci("web-config")))
        self.assertEqual(endpoint["scheme"], "https")
        given = yaml.safe_load(ci("web-config").read_text())["monitor"]
        self.assertEqual(endpoint["tlsConfig"], {**given["tlsConfig"], "serverName": "r-cachepulse.shop.svc"})
        self.assertEqual(endpoint["basicAuth"], given["basicAuth"])

    def test_a_server_name_of_the_values_is_kept(self):
        endpoint = self.endpoint(InTheParentChart.render(ci("sidecar-web-config")), "PodMonitor")
        self.assertEqual((endpoint["scheme"], endpoint["tlsConfig"]["serverName"]), ("https", "orders.shop.svc"))

    def test_without_tls_the_scheme_is_that_of_the_values_or_none(self):
        for scheme, expected in [("", None), ("http", "http"), ("https", "https")]:
            endpoint = self.endpoint(with_values({"monitor": {"kind": "ServiceMonitor", "scheme": scheme}}))
            self.assertEqual(endpoint.get("scheme"), expected)
            self.assertFalse({"tlsConfig", "basicAuth"} & set(endpoint))


class Tested(unittest.TestCase):
    """`helm test` asks the Service as Prometheus does."""

    def test_the_service_is_asked_with_the_certificates_and_the_user_of_the_scrape(self):
        spec = find(render(ci("web-config")), "Pod", "r-cachepulse-test-service")["spec"]
        [container] = spec["containers"]
        folder = "/etc/cachepulse-scrape"
        flags = ["--tls", "--server-name", "r-cachepulse.shop.svc"]
        for file in ("ca-file", "cert-file", "key-file", "password-file"):
            flags += [f"--{file}", f"{folder}/{file}"]
        flags += ["--username", "$(SCRAPE_USERNAME)"]
        self.assertEqual(container["args"], ["healthcheck", "--listen", "$(R_CACHEPULSE_SERVICE_HOST):443", *flags])
        self.assertEqual(container["env"][0]["valueFrom"], {"secretKeyRef": {"name": "cachepulse-scrape", "key": "username"}})
        [volume] = spec["volumes"]
        items = {}
        for source in volume["projected"]["sources"]:
            [(kind, one)] = source.items()
            [item] = one["items"]
            items[item["path"]] = (kind, one["name"], item["key"])
        self.assertEqual(
            items,
            {
                "ca-file": ("secret", "cachepulse-tls", "ca.crt"),
                "cert-file": ("configMap", "prometheus-client", "tls.crt"),
                "key-file": ("secret", "prometheus-client", "tls.key"),
                "password-file": ("secret", "cachepulse-scrape", "password"),
            },
        )
        self.assertEqual(container["volumeMounts"], [{"name": volume["name"], "mountPath": folder, "readOnly": True}])

    def test_the_service_is_not_asked_where_nobody_says_how(self):
        for settings in (
            {"webConfig": {"existingSecret": "web"}},
            {"webConfig": {"existingSecret": "web"}, "monitor": {"kind": "ServiceMonitor", "tlsConfig": {"caFile": "/etc/ca.pem"}}},
        ):
            tests = [one["metadata"]["name"] for one in with_values(settings) if one["kind"] == "Pod"]
            self.assertEqual(tests, ["r-cachepulse-test-targets"])


if __name__ == "__main__":
    unittest.main()
