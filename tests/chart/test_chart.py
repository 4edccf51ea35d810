"""Tests what Helm 3 and Helm 4 render from the chart for every file of ci/."""

import json
import os
import re
import subprocess
import tarfile
import tempfile
import unittest

import yaml

import agent
import kubernetes
from helm import CHART, CI, HELMS, MONITORING, ROOT, SMALLEST, Refused, application, find, objects, render, run, text, versions, workload

SIDECARS = [file for file in CI if file.name.startswith("sidecar")]
DEPLOYMENTS = [file for file in CI if file not in SIDECARS]


def values(file):
    return yaml.safe_load(file.read_text())


def ci(name):
    return CHART / f"ci/{name}-values.yaml"


def pods(manifest):
    """Yields every pod of a manifest with its labels."""
    for one in manifest:
        if one["kind"] == "Pod":
            yield one
        elif one["kind"] in ("Deployment", "StatefulSet"):
            yield one["spec"]["template"]


def own_containers(pod):
    """Returns the containers with the agent's image."""
    spec = pod["spec"]
    return [one for one in spec["containers"] + (spec.get("initContainers") or []) if "cachepulse" in one["image"]]


def matches(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


class InTheParentChart:
    """Renders the sidecars of ci/ through the parent chart, once for all tests."""

    folder = tempfile.TemporaryDirectory()

    @classmethod
    def render(cls, file, **options):
        handed_on = f"{cls.folder.name}/{file.name}"
        with open(handed_on, "w", encoding="utf-8") as parent:
            yaml.safe_dump({"cachepulse": values(file)}, parent)
        return render(handed_on, chart=application(cls.folder.name), **options)


def manifests(**options):
    """Yields every file of ci/ with its manifest."""
    for file in DEPLOYMENTS:
        yield file, render(file, **options)
    for file in SIDECARS:
        yield file, InTheParentChart.render(file, **options)


class Rendering(unittest.TestCase):
    def test_both_versions_of_helm_lint_without_findings(self):
        for helm in HELMS:
            for file in [None, *CI]:
                with self.subTest(helm=helm, file=file):
                    run(helm, "lint", "--strict", CHART, "--kube-version", "1.33", *(["--values", file] if file else []))

    def test_every_supported_kubernetes_accepts_every_object_with_and_without_the_monitoring_kinds(self):
        for file in CI:
            for version in versions(file):
                for apis in ((), tuple(MONITORING)):
                    with self.subTest(file=file.name, version=version, apis=apis):
                        manifest = render(file, version=version, apis=apis)
                        self.assertTrue(manifest)
                        for document in manifest:
                            kubernetes.check(document, version)

    def test_every_supported_kubernetes_accepts_an_application_with_the_sidecar(self):
        for file in SIDECARS:
            for version in versions(file):
                with self.subTest(file=file.name, version=version):
                    for document in InTheParentChart.render(file, version=version):
                        if document["kind"] == "Deployment":
                            for key in ("initContainers", "containers"):
                                self.assertNotEqual(document["spec"]["template"]["spec"].get(key, 0), [])
                        kubernetes.check(document, version)

    def test_the_validation_itself_refuses_a_misspelt_field_and_an_unknown_kind(self):
        manifest = render(ci("workload-identity"))
        for kind, path in [("Deployment", ["spec"]), ("ServiceMonitor", ["spec", "endpoints", 0]), ("PrometheusRule", ["spec"])]:
            broken = json.loads(json.dumps(find(manifest, kind)))
            place = broken
            for step in path:
                place = place[step]
            place["misspelt"] = 1
            with self.subTest(kind), self.assertRaises(Exception):
                kubernetes.check(broken, "1.33")
        with self.assertRaises(Exception):
            kubernetes.check({"apiVersion": "example.com/v1", "kind": "Unheard"}, "1.33")

    def test_native_sidecars_are_refused_before_kubernetes_1_29(self):
        for helm in HELMS:
            with self.subTest(helm), self.assertRaisesRegex(Refused, "native sidecars need Kubernetes 1.29"):
                text(helm, ci("sidecar"), version="1.28")

    def test_the_package_is_without_the_files_of_the_tests(self):
        for helm in HELMS:
            with self.subTest(helm), tempfile.TemporaryDirectory() as folder:
                run(helm, "package", CHART, "--destination", folder)
                archive = f"{folder}/cachepulse-{values(CHART / 'Chart.yaml')['version']}.tgz"
                self.assertEqual(objects(text(helm, SMALLEST, chart=archive)), objects(text(helm, SMALLEST)))
                with tarfile.open(archive) as content:
                    self.assertFalse([name for name in content.getnames() if "/ci/" in name])

    def test_a_release_tells_artifact_hub_where_its_image_and_its_sources_are(self):
        version, repository = values(CHART / "Chart.yaml")["version"], "https://git.example.com/shop/cachepulse"
        release = {"RELEASE_REPOSITORY": repository, "RELEASE_IMAGE": "registry.example.com/shop/cachepulse"}
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [ROOT / "deploy/packages/chart", version, folder],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1000000000", **release},
                check=True,
            )
            archive = f"{folder}/cachepulse-{version}.tgz"
            for helm in HELMS:
                with self.subTest(helm):
                    self.assertEqual(objects(text(helm, SMALLEST, chart=archive)), objects(text(helm, SMALLEST)))
                    chart = yaml.safe_load(run(helm, "show", "chart", archive))
                    self.assertEqual((chart["home"], chart["sources"]), (repository, [repository]))
                    notes = {key: yaml.safe_load(text) for key, text in chart["annotations"].items()}
                    [image] = notes["artifacthub.io/images"]
                    self.assertEqual(image["image"], f"registry.example.com/shop/cachepulse:{version}")
                    pages = [link["url"] for link in notes["artifacthub.io/links"] if "/blob/" in link["url"]]
                    for page in pages:
                        self.assertTrue((ROOT / page.removeprefix(f"{repository}/blob/v{version}/")).is_file(), page)
                    self.assertTrue(pages)
                    self.assertEqual(notes["artifacthub.io/category"], "monitoring-logging")
                    self.assertEqual(notes["artifacthub.io/license"], "MIT")

    def test_the_chart_is_for_this_version_of_the_agent(self):
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertEqual(values(CHART / "Chart.yaml")["appVersion"], version)


class Fleet(unittest.TestCase):
    def test_the_agents_share_the_targets_and_take_their_index_from_the_name_of_the_pod(self):
        manifest = render(ci("fleet"))
        fleet = find(manifest, "StatefulSet")
        self.assertFalse([one for one in manifest if one["kind"] == "Deployment"])
        self.assertEqual((fleet["spec"]["replicas"], fleet["spec"]["podManagementPolicy"]), (3, "Parallel"))
        self.assertEqual(fleet["spec"]["serviceName"], find(manifest, "Service")["metadata"]["name"])
        [container] = own_containers(fleet["spec"]["template"])
        self.assertEqual(container["args"][-4:], ["--partition-of", "3", "--partition-copies", "2"])
        index, proxy = container["env"]
        self.assertEqual(index["name"], "CACHEPULSE_PARTITION_INDEX")
        self.assertEqual(index["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}})
        self.assertEqual(proxy["name"], "HTTPS_PROXY")

    def test_without_copies_nothing_is_shared(self):
        container = own_containers(find(render(SMALLEST), "Deployment")["spec"]["template"])[0]
        self.assertNotIn("--partition-of", container["args"])
        self.assertNotIn("env", container)


class Unusual(unittest.TestCase):
    """Values that YAML or Helm turn into something else."""

    def rendered(self, *flags):
        return find(render(SMALLEST, arguments=flags), "Deployment")

    def test_a_strategy_that_recreates_has_no_rolling_update(self):
        self.assertEqual(self.rendered("--set=strategy.type=Recreate")["spec"]["strategy"], {"type": "Recreate"})

    def test_a_name_of_digits_stays_text(self):
        labels = self.rendered("--set-string=nameOverride=123")["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(labels["app.kubernetes.io/name"], "123")

    def test_null_stands_for_the_default_of_kubernetes_or_of_the_agent(self):
        probes = ("livenessProbe", "readinessProbe", "startupProbe")
        deployment = self.rendered("--set=config.defaults=null", *(f"--set={probe}=null" for probe in probes))
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        for probe in probes:
            self.assertEqual(list(container[probe]), ["httpGet"])


class Configuration(unittest.TestCase):
    def test_the_agent_accepts_what_the_chart_renders(self):
        checked = 0
        for file, manifest in manifests():
            if values(file).get("existingConfigMap"):
                continue
            with self.subTest(file.name):
                pod = workload(manifest)["spec"]["template"]["spec"]
                volume = next(one for one in pod["volumes"] if "projected" in one)
                maps = {one["metadata"]["name"]: one for one in manifest if one["kind"] == "ConfigMap"}
                source = volume["projected"]["sources"][0]["configMap"]
                config = maps[source["name"]]["data"][source["items"][0]["key"]]
                valid, said = agent.validate(config, agent.mounted(volume), {"CACHE_PASSWORD": "a-secret"})
                self.assertTrue(valid, said)
                checked += 1
        self.assertGreater(checked, 5)

    def test_the_agent_rejects_an_invalid_configuration(self):
        valid, said = agent.validate("targets: [{name: orders, hots: x}]")
        self.assertFalse(valid)
        self.assertIn('targets[0] (orders): unknown key "hots"', said)

    def test_text_with_a_meaning_in_yaml_or_templates_is_kept(self):
        file = ci("everything")
        manifest = render(file)
        config = yaml.safe_load(find(manifest, "ConfigMap", "shop-pulse")["data"]["config.yaml"])
        given = values(file)
        self.assertEqual(config["targets"], given["config"]["targets"])
        self.assertEqual(config["defaults"], given["config"]["defaults"])
        pod = find(manifest, "Deployment")["spec"]["template"]
        container = own_containers(pod)[0]
        self.assertEqual(container["env"], given["env"])
        self.assertEqual(pod["metadata"]["annotations"]["example.com/note"], given["podAnnotations"]["example.com/note"])

    def test_a_bare_off_which_helm_takes_for_false_is_accepted(self):
        config = yaml.safe_load(find(render(ci("secrets")), "ConfigMap")["data"]["config.yaml"])
        self.assertEqual(config["defaults"]["client_list"], {"mode": False})

    def test_a_change_of_the_configuration_and_nothing_else_changes_the_checksum(self):
        def checksum(*arguments):
            manifest = render(SMALLEST, arguments=arguments)
            return find(manifest, "Deployment")["spec"]["template"]["metadata"].get("annotations", {}).get("checksum/config")

        first = checksum()
        self.assertTrue(first)
        self.assertNotEqual(first, checksum("--set", "config.log.level=debug"))
        self.assertEqual(first, checksum("--set", "replicas=2"))
        self.assertIsNone(checksum("--set", "restartOnConfigChange=false"))

    def test_a_change_of_the_configuration_restarts_no_application(self):
        for name in ("sidecar", "sidecar-ordinary"):
            pod = find(InTheParentChart.render(ci(name)), "Deployment")["spec"]["template"]
            self.assertNotIn("checksum/config", pod["metadata"].get("annotations") or {}, name)

    def test_an_existing_config_map_is_mounted_where_the_agent_looks_for_it(self):
        manifest = render(ci("existing-config-map"))
        self.assertFalse([one for one in manifest if one["kind"] == "ConfigMap"])
        pod = find(manifest, "Deployment")["spec"]["template"]["spec"]
        source = pod["volumes"][0]["projected"]["sources"]
        self.assertEqual(source, [{"configMap": {"name": "caches", "items": [{"key": "agent.yaml", "path": "config.yaml"}]}}])
        self.assertEqual(pod["containers"][0]["args"], ["run", "--config", f"{agent.FOLDER}/config.yaml"])


class Secrets(unittest.TestCase):
    def test_a_secret_is_mounted_where_the_configuration_says_and_no_other_key_of_it(self):
        manifest = render(ci("secrets"))
        config = find(manifest, "ConfigMap")["data"]["config.yaml"]
        self.assertNotIn("secretRef", config)
        self.assertNotIn("configMapRef", config)
        pod = find(manifest, "Deployment")["spec"]["template"]["spec"]
        paths = agent.mounted(pod["volumes"][0])
        for path in paths:
            self.assertIn(f"{agent.FOLDER}/{path}", config)
        self.assertEqual(len(paths), len(set(paths)))
        sources = pod["volumes"][0]["projected"]["sources"]
        keys = {(s["secret"]["name"], item["key"]) for s in sources if "secret" in s for item in s["secret"]["items"]}
        expected = {("sessions-redis", "primaryKey"), ("sessions-redis", "secondaryKey"), ("inventory-tls", "ca.crt")}
        expected |= {("inventory-client", "tls.key"), ("returns", "entra.crt"), ("returns", "entra.key"), ("reviews", "token")}
        self.assertEqual(keys, expected | {("inventory.redis", "password"), ("stock", "client-secret")})

    def test_files_with_targets_alone_use_mounted_identities_and_authorities(self):
        manifest = render(ci("target-files"))
        config = yaml.safe_load(find(manifest, "ConfigMap")["data"]["config.yaml"])
        self.assertEqual(config["targets"], [])
        folder = f"{agent.FOLDER}/secrets"
        identities = config["identities"]
        self.assertEqual(identities["shop"], "managed_identity")
        self.assertEqual(identities["stock"]["key"], {"file": f"{folder}/stock-redis/primaryKey"})
        certificate = {"file": f"{folder}/returns/entra.crt", "key_file": f"{folder}/returns/entra.key"}
        self.assertEqual(identities["returns"]["client_certificate"], certificate)
        corporate, platform = (config["authorities"][name] for name in ("corporate", "platform"))
        self.assertEqual(corporate, f"{agent.FOLDER}/config-maps/trust-bundle/ca.crt")
        self.assertEqual(platform, "/etc/ssl/certs/ca-certificates.crt")
        volumes = find(manifest, "Deployment")["spec"]["template"]["spec"]["volumes"]
        [volume] = [one for one in volumes if one["name"] == "cachepulse-config"]
        mounted = {f"{agent.FOLDER}/{path}" for path in agent.mounted(volume)}
        self.assertEqual(mounted, {corporate, identities["stock"]["key"]["file"], *certificate.values()})

    def test_the_text_of_a_secret_is_in_no_other_kind(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            canary = "canary-of-a-secret"
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sessions-redis"}, "stringData": {"primaryKey": canary}}
            yaml.safe_dump({"extraObjects": [secret]}, file)
            manifest = render(ci("secrets"), file.name)
        self.assertEqual({one["kind"] for one in manifest if canary in json.dumps(one)}, {"Secret"})


class Identity(unittest.TestCase):
    def test_workload_identity_labels_the_pod_and_annotates_the_service_account(self):
        manifest = render(ci("workload-identity"))
        for pod in pods(manifest):
            self.assertEqual(pod["metadata"]["labels"]["azure.workload.identity/use"], "true")
        account = find(manifest, "ServiceAccount")
        self.assertEqual(
            account["metadata"]["annotations"],
            {
                "azure.workload.identity/client-id": "7d5c8a52-6d34-4c3b-9a53-0c1b0a3f9a10",
                "azure.workload.identity/tenant-id": "5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c",
                "azure.workload.identity/service-account-token-expiration": "3600",
            },
        )
        self.assertEqual(find(manifest, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], account["metadata"]["name"])

    def test_without_workload_identity_nothing_of_it_is_rendered(self):
        self.assertNotIn("azure.workload.identity", json.dumps(render(SMALLEST)))

    def test_an_identity_binding_annotates_the_pod(self):
        annotation = "azure.workload.identity/use-identity-binding"
        for arguments, expected in [((), None), (("--set=azureWorkloadIdentity.identityBinding=true",), "true")]:
            pod = find(render(ci("workload-identity"), arguments=arguments), "Deployment")["spec"]["template"]
            self.assertEqual(pod["metadata"]["annotations"].get(annotation), expected)
            self.assertIn("checksum/config", pod["metadata"]["annotations"])

    def test_a_sidecar_brings_the_label_and_annotation_to_the_applications_pod(self):
        pod = find(InTheParentChart.render(ci("sidecar")), "Deployment")["spec"]["template"]
        self.assertEqual(pod["metadata"]["labels"]["azure.workload.identity/use"], "true")
        self.assertEqual(pod["metadata"]["annotations"]["azure.workload.identity/use-identity-binding"], "true")
        self.assertEqual(pod["metadata"]["labels"]["app"], "application")

    def test_the_application_may_have_annotations_of_its_own(self):
        for name in ("sidecar", "sidecar-ordinary"):
            pod = find(InTheParentChart.render(ci(name)), "Deployment")["spec"]["template"]
            self.assertEqual(pod["metadata"]["annotations"]["application"], "annotated", name)


class Wiring(unittest.TestCase):
    """Names and numbers in one object that must be found in another."""

    def test_probes_services_and_monitors_name_ports_that_exist(self):
        for file, manifest in manifests():
            with self.subTest(file.name):
                pod = workload(manifest)["spec"]["template"]
                container = own_containers(pod)[0]
                ports = {port["name"] for port in container["ports"] if "name" in port}
                asked = ports | {port["containerPort"] for port in container["ports"]}
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    if probe in container:
                        self.assertIn(container[probe]["httpGet"]["port"], asked)
                for one in manifest:
                    if one["kind"] == "Service":
                        self.assertLessEqual(one["spec"]["selector"].items(), pod["metadata"]["labels"].items())
                        self.assertLessEqual({port["targetPort"] for port in one["spec"]["ports"]}, ports)
                    if one["kind"] == "PodMonitor":
                        self.assertTrue(matches(one["spec"]["selector"], pod["metadata"]["labels"]))
                        self.assertLessEqual({end["port"] for end in one["spec"]["podMetricsEndpoints"]}, ports)
                    if one["kind"] == "ServiceMonitor":
                        service = find(manifest, "Service")
                        self.assertTrue(matches(one["spec"]["selector"], service["metadata"]["labels"]))
                        names = {port["name"] for port in service["spec"]["ports"]}
                        self.assertLessEqual({end["port"] for end in one["spec"]["endpoints"]}, names)

    def test_the_containers_port_is_that_of_the_configuration(self):
        for name, port in [("smallest", 9860), ("managed-identity", 8080)]:
            manifest = render(ci(name))
            container = own_containers(find(manifest, "Deployment")["spec"]["template"])[0]
            self.assertEqual([port["containerPort"] for port in container["ports"]], [port])

    def test_addresses_may_be_ports_alone(self):
        http = ("--set", "config.http.listen=:9999", "--set", "config.http.health_listen=:9998")
        manifest = render(ci("smallest"), arguments=http)
        container = own_containers(find(manifest, "Deployment")["spec"]["template"])[0]
        self.assertEqual([port["containerPort"] for port in container["ports"]], [9999, 9998])

    def test_selectors_match_the_pods_and_not_those_of_the_test(self):
        manifest = render(ci("managed-identity"))
        deployment = find(manifest, "Deployment")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        tests = [one["metadata"]["labels"] for one in manifest if one["kind"] == "Pod"]
        constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        selectors = [
            deployment["spec"]["selector"],
            find(manifest, "PodDisruptionBudget")["spec"]["selector"],
            find(manifest, "NetworkPolicy", "r-cachepulse")["spec"]["podSelector"],
            find(manifest, "PodMonitor")["spec"]["selector"],
            {"matchLabels": find(manifest, "Service")["spec"]["selector"]},
            *(one["labelSelector"] for one in constraints),
        ]
        for selector in selectors:
            self.assertTrue(matches(selector, labels))
            self.assertFalse([test for test in tests if matches(selector, test)])

    def test_a_constraint_with_a_selector_of_its_own_keeps_it(self):
        spec = find(render(ci("everything")), "Deployment")["spec"]["template"]["spec"]
        self.assertEqual(spec["topologySpreadConstraints"][1]["labelSelector"], {"matchLabels": {"own": "selector"}})

    def test_everything_is_in_the_namespace_that_is_wanted(self):
        for file, namespace in [(SMALLEST, "shop"), (ci("everything"), "monitoring")]:
            for one in render(file):
                if one["metadata"]["name"] not in ("r-text", "shop-pulse-extra", "shop-pulse-dashboard"):
                    self.assertEqual(one["metadata"]["namespace"], namespace, one["kind"])

    def test_the_test_asks_the_service_by_the_variable_that_kubernetes_sets(self):
        pod = find(render(ci("managed-identity")), "Pod", "r-cachepulse-test-service")["spec"]
        self.assertTrue(pod["enableServiceLinks"])
        self.assertEqual(pod["containers"][0]["args"], ["healthcheck", "--listen", "$(R_CACHEPULSE_SERVICE_HOST):80"])
        self.assertEqual(find(render(ci("managed-identity")), "Service")["metadata"]["name"], "r-cachepulse")

    def test_a_release_whose_name_has_dots_gets_a_service_and_a_variable_without(self):
        manifest = render(ci("workload-identity"), release="shop.v2")
        self.assertEqual(find(manifest, "Service")["metadata"]["name"], "shop-v2-cachepulse")
        self.assertIn("$(SHOP_V2_CACHEPULSE_SERVICE_HOST)", json.dumps(find(manifest, "Pod", "shop-v2-cachepulse-test-service")))
        selector = find(manifest, "Service")["spec"]["selector"]
        self.assertLessEqual(selector.items(), find(manifest, "Deployment")["spec"]["template"]["metadata"]["labels"].items())
        longest = render(SMALLEST, release="a" * 40 + ".b" * 6)
        self.assertRegex(find(longest, "Service")["metadata"]["name"], "^[a-z]([-a-z0-9]*[a-z0-9])?$")

    def test_the_notes_show_the_real_ports(self):
        # Helm 3 shows notes to a cluster only; that it can render them is known from its lint.
        said = run("helm4", "install", "r", CHART, "--namespace", "shop", "--values", ci("managed-identity"), "--dry-run=client")
        notes = said.split("NOTES:")[1]
        self.assertIn("port-forward deployment/r-cachepulse 8080", notes)
        self.assertIn("http://r-cachepulse.shop.svc:80/metrics", notes)

    def test_the_notes_say_that_azure_monitor_reads_no_prometheus_rule(self):
        def notes(kind):
            values = ("--values", ci("azure-monitor"), f"--set=prometheusRule.kind={kind}", "--dry-run=client")
            return run("helm4", "install", "r", CHART, "--namespace", "shop", *values).split("NOTES:")[1]

        self.assertIn("set prometheusRule.kind to azure", notes("PrometheusRule"))
        self.assertNotIn("prometheusRule.kind", notes("azure"))


class HelmTest(unittest.TestCase):
    """What `helm test --logs` needs right after `helm install`, with Helm 3 and Helm 4."""

    @staticmethod
    def checks(manifest):
        return [one for one in manifest if "helm.sh/hook" in one["metadata"].get("annotations", {})]

    def test_each_check_is_a_pod_with_one_container_whose_log_stays(self):
        for file in DEPLOYMENTS:
            with self.subTest(file.name):
                checks = self.checks(render(file))
                # The values of this file turn both off.
                expected = [] if file == ci("existing-config-map") else ["service", "targets"]
                self.assertEqual([one["kind"] for one in checks], ["Pod"] * len(expected))
                self.assertEqual([one["spec"]["containers"][0]["name"] for one in checks], expected)
                for one in checks:
                    self.assertEqual(len(one["spec"]["containers"]), 1)
                    self.assertNotIn("initContainers", one["spec"])
                    self.assertEqual(one["metadata"]["annotations"]["helm.sh/hook"], "test")
                    self.assertEqual(one["metadata"]["annotations"]["helm.sh/hook-delete-policy"], "before-hook-creation")

    def test_a_check_that_fails_is_repeated_for_a_minute(self):
        for one in self.checks(render(SMALLEST)):
            self.assertEqual((one["spec"]["restartPolicy"], one["spec"]["activeDeadlineSeconds"]), ("OnFailure", 60))

    def test_checks_run_where_the_agent_runs_and_reach_what_it_reaches(self):
        shared = ["dnsPolicy", "dnsConfig", "nodeSelector", "tolerations", "affinity", "imagePullSecrets", "securityContext"]
        shared += ["serviceAccountName", "automountServiceAccountToken", "priorityClassName", "runtimeClassName"]
        manifest = render(ci("everything"))
        agents = find(manifest, "Deployment")["spec"]["template"]
        for one in self.checks(manifest):
            for key in shared:
                self.assertEqual(one["spec"][key], agents["spec"][key], key)
            labels, annotations = one["metadata"]["labels"], one["metadata"]["annotations"]
            self.assertEqual(labels, {**agents["metadata"]["labels"], "app.kubernetes.io/component": "test"})
            self.assertEqual(annotations["example.com/note"], agents["metadata"]["annotations"]["example.com/note"])
            self.assertNotIn("checksum/config", annotations)

    def test_checks_sign_in_as_the_agent_does(self):
        binding = "--set=azureWorkloadIdentity.identityBinding=true"
        for one in self.checks(render(ci("workload-identity"), arguments=(binding,))):
            self.assertEqual(one["metadata"]["labels"]["azure.workload.identity/use"], "true")
            self.assertEqual(one["metadata"]["annotations"]["azure.workload.identity/use-identity-binding"], "true")

    def test_a_policy_lets_checks_reach_the_agent_and_its_targets_where_everything_is_denied(self):
        manifest = render(ci("managed-identity"))
        policy = find(manifest, "NetworkPolicy", "r-cachepulse-test")["spec"]
        for one in self.checks(manifest):
            self.assertTrue(matches(policy["podSelector"], one["metadata"]["labels"]))
        agents = find(manifest, "Deployment")["spec"]["template"]["metadata"]["labels"]
        self.assertFalse(matches(policy["podSelector"], agents))
        self.assertEqual((policy["policyTypes"], policy.get("ingress")), (["Ingress", "Egress"], None))
        first, *rest = policy["egress"]
        self.assertEqual(first["ports"], [{"protocol": "TCP", "port": 8080}])
        self.assertTrue(matches(first["to"][0]["podSelector"], agents))
        self.assertEqual(rest, find(manifest, "NetworkPolicy", "r-cachepulse")["spec"]["egress"])

    def test_without_checks_there_is_no_policy_for_them_and_the_notes_are_silent(self):
        none = ("--set=service.enabled=false", "--set=tests.targets=false")
        self.assertEqual(self.checks(render(ci("managed-identity"), arguments=none)), [])
        find(render(ci("managed-identity"), arguments=none), "NetworkPolicy")

        def notes(*arguments):
            values = ("--values", ci("managed-identity"), *arguments)
            return run("helm4", "install", "r", CHART, "--namespace", "shop", *values, "--dry-run=client").split("NOTES:")[1]

        self.assertNotIn("helm test", notes(*none))
        self.assertIn("Probe every target once:\n  helm test r --namespace shop --logs", notes())
        self.assertIn("Ask the agent through its Service:\n  helm test", notes(none[1]))


class Network(unittest.TestCase):
    @staticmethod
    def egress(file):
        """The ports that a policy lets out, each with where to."""
        rules = find(render(file), "NetworkPolicy", "r-cachepulse")["spec"]["egress"]
        return [(port["protocol"], port["port"], rule.get("to")) for rule in rules for port in rule["ports"]]

    def ports(self, file):
        return {(protocol, port) for protocol, port, _ in self.egress(file)}

    def test_scrapes_come_in_at_the_containers_port_from_named_namespaces(self):
        rule = find(render(ci("managed-identity")), "NetworkPolicy", "r-cachepulse")["spec"]["ingress"][0]
        self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": 8080}])
        self.assertEqual(rule["from"][0]["namespaceSelector"], {"matchLabels": {"kubernetes.io/metadata.name": "observability"}})
        test = find(render(ci("managed-identity")), "Pod", "r-cachepulse-test-service")["metadata"]["labels"]
        self.assertTrue(matches(rule["from"][-1]["podSelector"], test))

    def test_an_empty_from_allows_nobody(self):
        rule = find(render(ci("existing-config-map")), "NetworkPolicy", "r-cachepulse")["spec"]["ingress"][0]
        self.assertEqual(len(rule["from"]), 1)
        self.assertEqual(rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "test")

    def test_the_targets_ports_are_open_by_the_agents_own_rule(self):
        dns = {("UDP", 53), ("TCP", 53)}
        nodes = {("TCP", port) for port in (15000, 13000, 8500)}
        self.assertEqual(self.ports(ci("workload-identity")), dns | nodes | {("TCP", 6380), ("TCP", 10000), ("TCP", 443)})
        secrets = {("TCP", port) for port in (6380, 7000, 6379, 7001, 443)}
        self.assertEqual(self.ports(ci("secrets")), dns | nodes | secrets)

    def test_the_ports_of_nodes_are_open_unless_no_target_visits_them(self):
        def nodes(*arguments, file="managed-identity"):
            rules = find(render(ci(file), arguments=arguments), "NetworkPolicy", "r-cachepulse")["spec"]["egress"]
            ports = [(port["port"], port["endPort"], rule.get("to")) for rule in rules for port in rule["ports"] if "endPort" in port]
            return sorted((first, last) for first, last, _ in ports), [to for _, _, to in ports]

        ranges = [(8500, 8599), (13000, 13999), (15000, 15999)]
        self.assertEqual(nodes(), (ranges, [[{"ipBlock": {"cidr": "10.1.0.0/16"}}]] * 3))
        for unknown in ("existing-config-map", "target-files"):
            self.assertEqual(nodes(file=unknown)[0], ranges, unknown)
        for off in ("--set=config.defaults.cluster.mode=off", "--set-json=config.defaults.cluster.mode=false"):
            self.assertEqual(nodes(off)[0], [], off)
        # The cluster of a target replaces that of the defaults as a whole.
        own = "--set=config.targets[0].cluster.refresh=1m"
        self.assertEqual(nodes("--set=config.defaults.cluster.mode=off", own)[0], ranges)

    def test_the_metadata_service_is_open_for_managed_identities_only_and_alone(self):
        metadata = ("TCP", 80, [{"ipBlock": {"cidr": "169.254.169.254/32"}}])
        self.assertIn(metadata, self.egress(ci("managed-identity")))
        self.assertIn(metadata, self.egress(ci("existing-config-map")))
        self.assertIn(metadata, self.egress(ci("target-files")))
        self.assertNotIn(("TCP", 80), self.ports(ci("workload-identity")))
        self.assertNotIn(("TCP", 443), self.ports(ci("managed-identity")))

    def test_egress_can_be_restricted(self):
        egress = self.egress(ci("managed-identity"))
        self.assertIn(("TCP", 6380, [{"ipBlock": {"cidr": "10.1.0.0/16"}}]), egress)
        self.assertEqual(egress[0][2][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "kube-system")
        self.assertIn(("TCP", 3128, None), egress)


class Hardening(unittest.TestCase):
    def test_every_pod_of_the_chart_keeps_the_restricted_standard(self):
        for file in DEPLOYMENTS:
            for pod in pods(render(file)):
                with self.subTest(file.name):
                    spec = pod["spec"]
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
                        self.assertNotIn(forbidden, spec)
                    for volume in spec.get("volumes", []):
                        self.assertLessEqual(set(volume), {"name", "projected", "emptyDir"})

    def test_the_agents_container_keeps_the_restricted_standard_in_any_pod(self):
        for file, manifest in manifests():
            for pod in pods(manifest):
                for container in own_containers(pod):
                    with self.subTest(file.name):
                        context = container["securityContext"]
                        self.assertIs(context["allowPrivilegeEscalation"], False)
                        self.assertIs(context["readOnlyRootFilesystem"], True)
                        self.assertIs(context["runAsNonRoot"], True)
                        self.assertEqual((context["runAsUser"], context["runAsGroup"]), (65532, 65532))
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
                        self.assertIn("memory", container["resources"]["limits"])
                        self.assertNotIn("cpu", container["resources"]["limits"])

    def test_a_sidecar_neither_delays_its_application_nor_removes_its_traffic(self):
        native = find(InTheParentChart.render(ci("sidecar")), "Deployment")["spec"]["template"]["spec"]
        ordinary = find(InTheParentChart.render(ci("sidecar-ordinary")), "Deployment")["spec"]["template"]["spec"]
        self.assertEqual(native["initContainers"][0]["restartPolicy"], "Always")
        self.assertEqual([one["name"] for one in native["containers"]], ["application"])
        self.assertEqual([one["name"] for one in ordinary["containers"]], ["application", "cache-probe"])
        self.assertFalse(ordinary.get("initContainers"))
        for container in (native["initContainers"][0], ordinary["containers"][1]):
            self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/livez")
            self.assertFalse({"startupProbe", "readinessProbe"} & set(container))

    def test_a_sidecar_waits_for_its_sources_and_a_separate_agent_needs_them(self):
        for file, expected in [("sidecar", True), ("sidecar-ordinary", True), ("secrets", None)]:
            manifest = InTheParentChart.render(ci(file)) if expected else render(ci(file))
            spec = find(manifest, "Deployment")["spec"]["template"]["spec"]
            [volume] = [one for one in spec["volumes"] if one["name"] == "cachepulse-config"]
            sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
            self.assertEqual({source.get("optional") for source in sources}, {expected}, file)

    def test_a_sidecar_serves_without_its_sources_and_begins_when_they_are_mounted(self):
        manifest = InTheParentChart.render(ci("sidecar-ordinary"))
        pod = find(manifest, "Deployment")["spec"]["template"]["spec"]
        [container] = [one for one in pod["containers"] if one["name"] == "cache-probe"]
        [port] = [one["containerPort"] for one in container["ports"]]
        self.assertEqual(container["args"][-1], f"0.0.0.0:{port}")
        config = find(manifest, "ConfigMap")["data"]["config.yaml"]
        [volume] = [one for one in pod["volumes"] if one["name"] == "cachepulse-config"]
        agent.begins_when_mounted(container["args"], config, agent.mounted(volume))

    def test_the_agent_is_ready_by_one_page_and_alive_by_another(self):
        container = own_containers(find(render(SMALLEST), "Deployment")["spec"]["template"])[0]
        paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
        # A startup probe that waits for targets would restart the agent for a slow one.
        self.assertEqual(paths, {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"})


class Image(unittest.TestCase):
    def image(self, *arguments, file=SMALLEST):
        return own_containers(find(render(file, arguments=arguments), "Deployment")["spec"]["template"])[0]["image"]

    def test_the_tag_is_the_agents_version_unless_said_otherwise(self):
        version = values(CHART / "Chart.yaml")["appVersion"]
        self.assertEqual(self.image(), f"cachepulse/cachepulse:{version}")
        self.assertEqual(self.image("--set", "image.tag=v9,image.registry=r.example.com"), "r.example.com/cachepulse/cachepulse:v9")

    def test_a_digest_takes_precedence_over_the_tag_and_the_global_registry_over_the_images(self):
        digest = values(ci("everything"))["image"]["digest"]
        self.assertEqual(self.image(file=ci("everything")), f"registry.example.com/platform/cachepulse@{digest}")

    def test_pull_secrets_are_those_of_the_image_and_the_global_ones(self):
        for pod in pods(render(ci("everything"))):
            self.assertEqual(pod["spec"]["imagePullSecrets"], [{"name": "global-pull"}, {"name": "pull"}])


class Monitoring(unittest.TestCase):
    def test_the_job_has_the_same_name_in_every_mode(self):
        for file, kind in [("workload-identity", "ServiceMonitor"), ("managed-identity", "PodMonitor"), ("sidecar", "PodMonitor")]:
            spec = find(render(ci(file)), kind)["spec"]
            endpoint = (spec.get("endpoints") or spec["podMetricsEndpoints"])[0]
            self.assertIn({"targetLabel": "job", "replacement": "cachepulse"}, endpoint["relabelings"])

    def test_a_monitor_says_what_the_values_say(self):
        monitor = find(render(ci("workload-identity")), "ServiceMonitor")
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
        self.assertEqual(monitor["spec"]["scrapeClass"], "default")
        endpoint = monitor["spec"]["endpoints"][0]
        self.assertEqual((endpoint["interval"], endpoint["scrapeTimeout"], endpoint["honorLabels"]), ("15s", "10s", True))

    def test_a_probe_lists_the_targets_by_name_and_reaches_the_service(self):
        manifest = render(ci("probe"))
        probe, service = find(manifest, "Probe"), find(manifest, "Service")
        self.assertFalse([one for one in manifest if one["kind"].endswith("Monitor")])
        self.assertEqual(probe["metadata"]["labels"]["release"], "prometheus")
        names = [target["name"] for target in values(ci("probe"))["config"]["targets"]]
        host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        basic_auth = values(ci("probe"))["monitor"]["basicAuth"]
        expected = {
            "jobName": "cachepulse-probe",
            "prober": {"url": f"{host}:{service['spec']['ports'][0]['port']}", "scheme": "https", "path": "/probe"},
            "targets": {"staticConfig": {"static": names}},
            "interval": "15s",
            "scrapeTimeout": "10s",
            "tlsConfig": {"ca": {"secret": {"name": "cachepulse-web", "key": "ca.crt"}}, "serverName": host},
            "basicAuth": basic_auth,
            "scrapeClass": "default",
        }
        self.assertEqual(probe["spec"], expected)
        plain = find(render(SMALLEST, arguments=("--set=monitor.kind=Probe",)), "Probe")["spec"]
        self.assertEqual(plain["prober"]["scheme"], "http")
        self.assertEqual(set(plain), {"jobName", "prober", "targets"})

    def shipped(self):
        return yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]

    def test_the_shipped_rules_are_rendered_as_they_are(self):
        groups = find(render(ci("sidecar")), "PrometheusRule")["spec"]["groups"]
        self.assertEqual(groups, self.shipped())

    def test_rules_can_be_left_out_changed_and_added(self):
        alert = next(rule["alert"] for group in self.shipped() for rule in group["rules"] if "alert" in rule)

        def rendered(settings):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump({"prometheusRule": {"enabled": True, **settings}}, file)
                groups = find(render(SMALLEST, file.name), "PrometheusRule")["spec"]["groups"]
            return {rule.get("alert"): rule for group in groups for rule in group["rules"]}

        self.assertNotIn(alert, rendered({"disabled": [alert]}))
        changed = rendered({"overrides": {alert: {"for": "17m", "severity": "ticket"}}, "alertLabels": {"team": "storage"}})
        self.assertEqual((changed[alert]["for"], changed[alert]["labels"]["severity"]), ("17m", "ticket"))
        for name, rule in changed.items():
            if name:
                self.assertEqual(rule["labels"]["team"], "storage")

    def test_the_objective_takes_the_place_of_the_shipped_one(self):
        said = json.dumps(find(render(ci("workload-identity")), "PrometheusRule")["spec"])
        self.assertIn("0.9995 * group", said)
        self.assertEqual(said.count("(1 - 0.9995)"), 5)
        self.assertNotRegex(said, r"0\.999(?!5)")

    def test_the_objective_and_a_severity_may_be_of_the_kind_that_helm_makes_of_them(self):
        flags = ["prometheusRule.enabled=true", "prometheusRule.objective=0.95", "prometheusRule.overrides.CachepulseCacheDown.severity=0"]
        groups = find(render(SMALLEST, arguments=tuple(f"--set={one}" for one in flags)), "PrometheusRule")["spec"]["groups"]
        self.assertIn("(1 - 0.95)", json.dumps(groups))
        [down] = [rule for group in groups for rule in group["rules"] if rule.get("alert") == "CachepulseCacheDown"]
        self.assertEqual(down["labels"]["severity"], "0")

    def test_runbooks_are_where_the_values_say(self):
        groups = find(render(ci("workload-identity")), "PrometheusRule")["spec"]["groups"]
        urls = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule]
        self.assertTrue(urls)
        for url in urls:
            self.assertRegex(url, r"^https://example\.com/wiki/cachepulse/Cachepulse\w+\.md$")

    @staticmethod
    def with_values(settings):
        """Renders the values for Azure Monitor with others on top."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(settings, file)
            return render(ci("azure-monitor"), file.name)

    def test_azure_scrapes_by_a_monitor_of_its_own_group_with_its_limits_and_without_fields_that_it_lacks(self):
        for kind in ("PodMonitor", "ServiceMonitor"):
            monitor = find(self.with_values({"monitor": {"kind": kind}, "service": {"enabled": True}}), kind)
            self.assertEqual(monitor["apiVersion"], "azmonitoring.coreos.com/v1")
            spec = monitor["spec"]
            limits = [spec[f"label{name}Limit"] for name in ("", "NameLength", "ValueLength")]
            self.assertEqual((limits, spec["sampleLimit"]), ([63, 511, 200], 10000))
            kubernetes.check(monitor, "1.33")
        again = self.with_values({"monitor": {"apiGroup": "monitoring.coreos.com"}})
        spec = find(again, "PodMonitor")["spec"]
        self.assertNotIn("labelLimit", spec)
        self.assertTrue(spec["scrapeNativeHistograms"])

    def test_azures_rule_groups_are_those_of_the_templates_with_the_values(self):
        manifest = self.with_values({})
        self.assertFalse([one for one in manifest if one["kind"] == "PrometheusRule"])
        groups = [one["spec"] for one in manifest if one["kind"] == "PrometheusRuleGroup"]
        shipped = json.loads((CHART / "files/azure-rules.json").read_text())["groups"]
        names = [f"r-{one['name']}-west" for one in shipped]
        self.assertEqual([one["azureName"] for one in groups], [*names, "r-cachepulse-shop-west"])
        given = values(ci("azure-monitor"))["prometheusRule"]["azure"]
        rules = {rule.get("alert"): rule for group in groups for rule in group["rules"]}
        for group in groups:
            self.assertEqual((group["owner"], group["location"], group["clusterName"]), ({"name": "monitoring"}, "westeurope", "west"))
            self.assertEqual(group["scopesReferences"], [{"armId": given["workspaceId"]}])
        for name, rule in rules.items():
            if name:
                self.assertEqual(rule["actions"], [{"actionGroupReference": {"armId": given["actionGroupIds"][0]}}])
                self.assertEqual(rule["labels"]["team"], "storage")
                self.assertRegex(rule["annotations"]["runbook_url"], r"^https://example\.com/wiki/cachepulse/Cachepulse\w+\.md$")
        self.assertEqual(rules["CachepulseCacheDown"]["severity"], 1)
        self.assertEqual(rules["CachepulseCacheFailing"]["severity"], 2)
        self.assertNotIn("CachepulseReplicaDown", rules)
        changed = rules["CachepulseLatencyHigh"]
        self.assertEqual((changed["for"], changed["severity"], changed["labels"]["severity"]), ("PT1H30M", 3, "info"))
        self.assertNotRegex(json.dumps(groups), r"0\.999(?!5)")
        self.assertTrue(rules["CachepulseCacheDown"]["annotations"]["description"].endswith(" http://127.0.0.1:9860/status"))

    def test_azures_rule_groups_can_have_other_owners_severities_and_links_and_no_cluster(self):
        azure = {"owner": "/subscriptions/s/resourceGroups/g", "clusterName": "", "statusUrl": "https://pulse.shop/status"}
        overrides = {"CachepulseCacheDown": {"severity": "0"}}
        extra = [{"name": "own", "rules": [{"alert": "Own", "expression": "up", "severity": 4}]}]
        manifest = self.with_values({"prometheusRule": {"azure": azure, "overrides": overrides, "extraGroups": extra}})
        groups = [one for one in manifest if one["kind"] == "PrometheusRuleGroup"]
        for one in groups:
            kubernetes.check(one, "1.33")
            self.assertEqual(one["spec"]["owner"], {"armId": azure["owner"]})
            self.assertNotIn("clusterName", one["spec"])
        self.assertEqual(groups[0]["spec"]["azureName"], groups[0]["metadata"]["name"])
        rules = {rule.get("alert"): rule for one in groups for rule in one["spec"]["rules"]}
        self.assertEqual((rules["CachepulseCacheDown"]["severity"], rules["Own"]["severity"]), (0, 4))
        self.assertTrue(rules["CachepulseCacheDown"]["annotations"]["description"].endswith(" https://pulse.shop/status"))
        self.assertEqual(rules["Own"]["actions"], rules["CachepulseCacheDown"]["actions"])

    def test_the_dashboard_is_the_shipped_one_where_grafanas_sidecar_looks(self):
        config_map = find(render(ci("workload-identity")), "ConfigMap", "r-cachepulse-dashboard")
        self.assertEqual(json.loads(config_map["data"]["cachepulse.json"]), json.loads((CHART / "files/dashboard.json").read_text()))
        self.assertEqual(config_map["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(config_map["metadata"]["annotations"], {"grafana_folder": "Caches"})

    def test_rules_and_dashboard_are_those_of_deploy(self):
        for own, other in [("rules.yaml", "prometheus/rules.yaml"), ("dashboard.json", "grafana/dashboard.json")]:
            shipped = ROOT / "deploy" / other
            if shipped.parent.exists():
                self.assertEqual((CHART / "files" / own).read_text(), shipped.read_text(), f"copy deploy/{other} there")


if __name__ == "__main__":
    unittest.main()
