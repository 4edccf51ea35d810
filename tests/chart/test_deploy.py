"""Tests that the manifests in deploy/ equal the output of the chart, are valid, and use flags of the agent."""

import functools
import json
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import agent
import kubernetes
import manifests
from helm import KUBECTL, KUBERNETES, ROOT, find, objects

DEPLOY = ROOT / "deploy"


def load(path):
    return yaml.safe_load((DEPLOY / path).read_text())


@functools.cache
def kustomize(path):
    done = subprocess.run([KUBECTL, "kustomize", DEPLOY / "kustomize" / path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(objects(done.stdout))


@functools.cache
def variables():
    """Returns every environment variable of the agent's flags."""
    said = subprocess.run([agent.binary(), "run", "--help"], capture_output=True, text=True, timeout=60).stdout
    return frozenset(re.findall(r"\[env: (CACHEPULSE_\w+)", said))


def containers(document):
    spec = document["spec"]["template"]["spec"]
    return spec["containers"] + spec.get("initContainers", [])


class Plain(unittest.TestCase):
    def test_plain_manifests_are_the_charts_output(self):
        for file, expected in [(manifests.PLAIN, manifests.plain()), (manifests.BASE, manifests.base())]:
            self.assertEqual(file.read_text(), manifests.written(expected), "run make manifests")

    def test_every_supported_kubernetes_accepts_them(self):
        for version in KUBERNETES:
            for document in objects(manifests.PLAIN.read_text()):
                kubernetes.check(document, version)

    def test_the_agent_accepts_their_configuration(self):
        config = find(objects(manifests.PLAIN.read_text()), "ConfigMap")["data"]["config.yaml"]
        valid, said = agent.validate(config)
        self.assertTrue(valid, said)


class Kustomize(unittest.TestCase):
    def test_every_overlay_is_valid(self):
        overlays = sorted(path.name for path in (DEPLOY / "kustomize/overlays").iterdir())
        self.assertEqual(overlays, ["sidecar", "standalone"])
        for overlay in overlays:
            # Native sidecars need a newer version than the rest.
            for version in [one for one in KUBERNETES if overlay != "sidecar" or one != "1.25"]:
                with self.subTest(overlay=overlay, version=version):
                    for document in kustomize(f"overlays/{overlay}"):
                        kubernetes.check(document, version)

    def test_the_agent_accepts_the_configurations(self):
        for path in ("base", "overlays/standalone"):
            config_map = find(kustomize(path), "ConfigMap")
            valid, said = agent.validate(config_map["data"]["config.yaml"])
            self.assertTrue(valid, said)

    def test_a_generated_config_map_is_the_one_that_is_mounted(self):
        manifest = kustomize("overlays/standalone")
        volume = find(manifest, "Deployment")["spec"]["template"]["spec"]["volumes"][0]
        name = volume["projected"]["sources"][0]["configMap"]["name"]
        self.assertEqual(name, find(manifest, "ConfigMap")["metadata"]["name"])
        self.assertRegex(name, "^cachepulse-[a-z0-9]{10}$")

    def test_an_overlay_completes_workload_identity(self):
        manifest = kustomize("overlays/standalone")
        pod = find(manifest, "Deployment")["spec"]["template"]
        self.assertEqual(pod["metadata"]["labels"]["azure.workload.identity/use"], "true")
        account = find(manifest, "ServiceAccount")["metadata"]
        self.assertIn("azure.workload.identity/client-id", account["annotations"])
        self.assertEqual(pod["spec"]["serviceAccountName"], account["name"])

    def test_the_component_adds_the_agent_to_the_deployments_that_ask_for_it_only(self):
        deployment = find(kustomize("overlays/sidecar"), "Deployment")
        spec = deployment["spec"]["template"]["spec"]
        self.assertEqual([one["name"] for one in spec["containers"]], ["application"])
        [sidecar] = spec["initContainers"]
        self.assertEqual((sidecar["name"], sidecar["restartPolicy"]), ("cachepulse", "Always"))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "kustomize"
            shutil.copytree(DEPLOY / "kustomize", copy)
            sample = copy / "overlays/sidecar/application.yaml"
            sample.write_text(sample.read_text().replace("cachepulse: sidecar", "cachepulse: none"))
            done = subprocess.run([KUBECTL, "kustomize", copy / "overlays/sidecar"], capture_output=True, text=True, timeout=60)
        self.assertNotIn("initContainers", done.stdout)

    def test_the_components_container_is_the_charts_sidecar_but_for_its_configuration(self):
        """The hardening of the chart then holds here too."""
        [ours] = find(kustomize("overlays/sidecar"), "Deployment")["spec"]["template"]["spec"]["initContainers"]
        [charts] = containers(find(manifests.base(), "Deployment"))
        for key in ("resources", "securityContext"):
            self.assertEqual(ours[key], charts[key], key)
        self.assertEqual(ours["livenessProbe"]["httpGet"]["path"], charts["livenessProbe"]["httpGet"]["path"])
        self.assertEqual(ours["args"], ["run", "--on-invalid-config", "wait"])
        self.assertEqual([source["configMapRef"]["optional"] for source in ours["envFrom"]], [True])

    def test_the_components_container_waits_without_its_variables(self):
        [ours] = find(kustomize("overlays/sidecar"), "Deployment")["spec"]["template"]["spec"]["initContainers"]
        data = find(kustomize("overlays/sidecar"), "ConfigMap")["data"]
        for environment, message in [({}, "no cache to probe"), ({**data, "CACHEPULSE_INTERVAL": "0s"}, "CACHEPULSE_INTERVAL")]:
            with agent.running(ours["args"], environment) as log:
                agent.logged(log, "waiting for a valid one")
                self.assertIn(message, agent.logged(log, "agent waiting"))

    def test_variables_are_flags_of_the_agent(self):
        data = find(kustomize("overlays/sidecar"), "ConfigMap")["data"]
        self.assertLessEqual(set(data), variables())
        self.assertTrue(data)


class Compose(unittest.TestCase):
    compose = load("compose/compose.yaml")

    def test_every_file_that_is_mounted_exists(self):
        for service in self.compose["services"].values():
            for volume in service.get("volumes", []):
                source = (DEPLOY / "compose" / volume.split(":")[0]).resolve()
                self.assertTrue(source.is_file() or not source.parent.exists(), volume)

    def test_the_agent_is_built_here_and_its_variables_are_flags(self):
        service = self.compose["services"]["cachepulse"]
        self.assertTrue((DEPLOY / "compose" / service["build"] / "Dockerfile").resolve().is_file())
        self.assertLessEqual(set(service["environment"]), variables())
        self.assertIn(service["environment"]["CACHEPULSE_HOST"], self.compose["services"])

    def test_prometheus_loads_the_rules_and_scrapes_the_agent(self):
        prometheus = load("compose/prometheus.yaml")
        mounted = [volume.split(":")[1] for volume in self.compose["services"]["prometheus"]["volumes"]]
        self.assertLessEqual(set(prometheus["rule_files"]), set(mounted))
        [scrape] = prometheus["scrape_configs"]
        self.assertEqual(scrape["static_configs"], [{"targets": ["cachepulse:9860"]}])

    def test_grafana_finds_prometheus_and_the_dashboard(self):
        [source] = load("compose/grafana/datasource.yaml")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        [provider] = load("compose/grafana/provider.yaml")["providers"]
        mounted = [volume.split(":")[1] for volume in self.compose["services"]["grafana"]["volumes"]]
        self.assertTrue([path for path in mounted if path.startswith(provider["options"]["path"] + "/")])

    def test_nothing_listens_beyond_this_machine(self):
        for service in self.compose["services"].values():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), port)


class ContainerApps(unittest.TestCase):
    app = load("container-apps/app.yaml")["properties"]

    def test_probes_are_of_the_kinds_that_container_apps_knows(self):
        for container in self.app["template"]["containers"]:
            for probe in container.get("probes", []):
                self.assertIn(probe["type"], ("Liveness", "Readiness", "Startup"))
                self.assertLessEqual(set(probe) & {"exec", "grpc", "httpGet", "tcpSocket"}, {"httpGet", "tcpSocket"})
                self.assertIsInstance(probe["httpGet"]["port"], int)

    def test_cpu_and_memory_of_all_containers_are_a_pair_that_is_offered(self):
        resources = [container["resources"] for container in self.app["template"]["containers"]]
        cpu = sum(one["cpu"] for one in resources)
        memory = sum(float(one["memory"].removesuffix("Gi")) for one in resources)
        # Source: Microsoft Learn, "Containers in Azure Container Apps": 2 GiB for each CPU, in steps of a quarter.
        self.assertEqual(memory, 2 * cpu)
        self.assertEqual(cpu % 0.25, 0)

    def test_the_agents_port_is_exposed_inside_and_its_variables_are_flags(self):
        sidecar = next(one for one in self.app["template"]["containers"] if one["name"] == "cachepulse")
        self.assertLessEqual({variable["name"] for variable in sidecar["env"]}, variables())
        [mapping] = self.app["configuration"]["ingress"]["additionalPortMappings"]
        self.assertEqual(mapping, {"external": False, "targetPort": 9860, "exposedPort": 9860})


class Azure(unittest.TestCase):
    """The script, with an `az` that writes down what it is asked."""

    script = DEPLOY / "azure/least-rights.sh"

    def run_script(self, *arguments, trusted=""):
        with tempfile.TemporaryDirectory() as folder:
            fake = Path(folder) / "az"
            answers = 'case "$*" in *principalId*) echo oid ;; *clientId*) echo cid ;; *"credential list"*) echo "' + trusted + '" ;; esac'
            fake.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >>"$0.log"; echo >>"$0.log"\n{answers}\n')
            fake.chmod(0o755)
            done = subprocess.run(
                [self.script, *arguments], capture_output=True, text=True, env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=60
            )
            log = Path(f"{fake}.log")
            return done, log.read_text().splitlines() if log.exists() else []

    def test_a_cache_for_redis_gets_a_policy_with_the_agents_commands_and_keys(self):
        done, asked = self.run_script("--group", "g", "--cache", "c")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("client id: cid", done.stdout)
        [policy] = [line for line in asked if line.startswith("redis|access-policy|create")]
        self.assertIn("--permissions|+ping +set +get +client|list +cluster|slots +subscribe ~cachepulse:*|", policy)
        [assignment] = [line for line in asked if line.startswith("redis|access-policy-assignment")]
        self.assertIn("--object-id|oid|", assignment)
        self.assertFalse([line for line in asked if "federated" in line])

    def test_a_managed_redis_gets_them_with_the_assignment(self):
        _, asked = self.run_script("--group", "g", "--cache", "c", "--managed")
        [assignment] = [line for line in asked if line.startswith("redisenterprise|")]
        self.assertIn("--access-string|+ping +set +get +client|list +cluster|slots ~cachepulse:*|", assignment)
        self.assertFalse([line for line in asked if line.startswith("redis|")])

    def test_replicas_need_one_more_command(self):
        _, asked = self.run_script("--group", "g", "--cache", "c", "--replicas")
        [policy] = [line for line in asked if line.startswith("redis|access-policy|create")]
        self.assertIn("--permissions|+ping +set +get +client|list +cluster|slots +readonly +subscribe ~cachepulse:*|", policy)

    def test_a_cluster_is_trusted_for_the_agents_service_account(self):
        _, asked = self.run_script("--group", "g", "--cache", "c", "--issuer", "https://issuer.example.com/x/")
        [trust] = [line for line in asked if "federated-credential|create" in line]
        plain = find(objects(manifests.PLAIN.read_text()), "ServiceAccount")["metadata"]
        self.assertIn(f"--subject|system:serviceaccount:{plain['namespace']}:{plain['name']}|", trust)

    def credential(self, issuer, account):
        _, asked = self.run_script("--group", "g", "--cache", "c", "--issuer", issuer, "--account", account)
        [trust] = [line for line in asked if "federated-credential|create" in line]
        return re.search(r"\|--name\|([^|]*)\|", trust)[1]

    def test_each_cluster_and_account_has_a_credential_of_its_own(self):
        """Creating one replaces another one of the same name."""
        issuers = ["https://west.example.com/x/", "https://east.example.com/x/"]
        accounts = ["monitoring:cachepulse", "shop:cachepulse", "a:b-c", "a-b:c", "shop:dotted.name", f"{'n' * 63}:{'a' * 253}"]
        names = [self.credential(issuer, account) for issuer in issuers for account in accounts]
        self.assertEqual(len(set(names)), len(names), names)
        for name in names:
            # Source: the API of Microsoft.ManagedIdentity, federatedIdentityCredentials.
            self.assertRegex(name, "^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$")
        self.assertEqual(self.credential(issuers[0], accounts[0]), names[0])

    def test_a_cluster_that_is_trusted_already_gets_no_second_credential(self):
        """Azure refuses two of the same issuer and subject, whatever their names."""
        done, asked = self.run_script("--group", "g", "--cache", "c", "--issuer", "https://i.example.com/", trusted="old-name")
        self.assertEqual(done.returncode, 0, done.stderr)
        [listed] = [line for line in asked if "federated-credential" in line]
        self.assertIn("issuer=='https://i.example.com/' && subject=='system:serviceaccount:monitoring:cachepulse'", listed)

    def test_each_identity_has_an_assignment_of_its_own(self):
        for flags, option in [(["--managed"], "--access-policy-assignment-name"), ([], "--policy-assignment-name")]:
            names = []
            for identity in ("cachepulse", "cachepulse-east_2"):
                _, asked = self.run_script("--group", "g", "--cache", "c", "--identity", identity, *flags)
                [name] = [found[1] for line in asked if (found := re.search(rf"\|{option}\|([^|]*)\|", line))]
                names.append(name)
            self.assertEqual(names, ["cachepulse", "cachepulseeast2"])

    def test_wrong_usage_changes_nothing(self):
        for arguments in [[], ["--group", "g"], ["--group", "g", "--cache"], ["--group", "g", "--cache", "c", "--what"]]:
            done, asked = self.run_script(*arguments)
            self.assertEqual((done.returncode, asked), (64, []), arguments)
            self.assertIn("usage:", done.stderr)

    def test_its_rights_are_enough_for_the_agent_on_a_real_server(self):
        commands, keys = (re.search(f'^{name}="(.*)"$', self.script.read_text(), re.MULTILINE)[1] for name in ("commands", "keys"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "password").write_text("secret")
            users = f"user default off\nuser probe on >secret resetkeys -@all {commands} {keys}\n"
            (Path(folder) / "redis.conf").write_text(f'bind 127.0.0.1\nport {port}\nsave ""\ndir {folder}\n{users}')
            server = subprocess.Popen(["redis-server", f"{folder}/redis.conf"], stdout=subprocess.PIPE, text=True)
            try:
                # If the output ends without these words, the server could not start.
                self.assertTrue(any("Ready to accept connections" in line for line in server.stdout))
                target = ["--host", "127.0.0.1", "--port", str(port), "--tls", "false", "--username", "probe"]
                identity = ["--identity", "password", "--password-file", f"{folder}/password", "--client-list", "required"]
                done = subprocess.run([agent.binary(), "check", *target, *identity], capture_output=True, text=True, timeout=60)
            finally:
                server.kill()
                server.communicate()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for step in ("PING", "SET", "GET", "CLIENT LIST"):
            self.assertIn(step, done.stdout)
        self.assertIn("success in", done.stdout)

    def test_its_keys_are_those_of_the_agents_default(self):
        schema = json.loads((ROOT / "charts/cachepulse/values.schema.json").read_text())
        target = schema["properties"]["config"]["properties"]["defaults"]["properties"]
        prefix = target["key"]["default"].removesuffix("{instance}")
        self.assertIn(f"~{prefix}*", self.script.read_text())


class Systemd(unittest.TestCase):
    unit = (DEPLOY / "systemd/cachepulse.service").read_text()

    def test_it_runs_the_agent_with_commands_that_exist(self):
        self.assertIn("ExecStart=/usr/local/bin/cachepulse run --config /etc/cachepulse/config.yaml", self.unit)
        for command in re.findall(r"/usr/local/bin/cachepulse (\w+)", self.unit):
            done = subprocess.run([agent.binary(), command, "--help"], capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, command)

    def test_systemd_understands_it_and_finds_little_exposed(self):
        self.assertTrue(shutil.which("systemd-analyze"), "needs systemd-analyze; on Debian: sudo apt-get install systemd")
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder) / "cachepulse.service"
            unit.write_text(self.unit.replace("/usr/local/bin/cachepulse", "/bin/true"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
            self.assertEqual([line for line in done.stderr.splitlines() if "cachepulse" in line], [])
            said = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, timeout=60)
        exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)[1])
        self.assertLessEqual(exposure, 2.0)


if __name__ == "__main__":
    unittest.main()
