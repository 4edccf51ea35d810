"""Tests the values of the pages that install the chart, together with the commands that use them."""

import re
import tempfile
import unittest
from pathlib import Path

import yaml

import agent
from helm import ROOT, find, render

PAGES = [ROOT / "docs/install" / name for name in ("kubernetes-helm.md", "aks-azure-monitor.md")]
IDENTITY_BINDING = ROOT / "docs/install/aks-identity-binding.md"


class AlertTest(unittest.TestCase):
    """The second release, which shows an alert while the first one watches the caches."""

    def manifests(self, page, added=None):
        """Returns the objects of both releases, of an installation with the values of the page and those of `added`."""
        files = re.findall(r"Save this as `([\w-]+\.yaml)`.*?```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        self.assertEqual([name for name, _ in files], ["values.yaml", "alert-test.yaml"])
        with tempfile.TemporaryDirectory() as folder:
            for name, values in files:
                (Path(folder) / name).write_text(values)
            own, alert_test = (str(Path(folder) / name) for name, _ in files)
            installed = [own]
            if added is not None:
                installed.append(str(Path(folder) / "added.yaml"))
                Path(installed[-1]).write_text(added)
            return render(*installed, release="cachepulse"), render(*installed, alert_test, release="alert-test")

    def test_its_only_target_is_the_one_that_fails_and_needs_no_identity(self):
        for page in PAGES:
            with self.subTest(page=page.name):
                _, second = self.manifests(page)
                config = find(second, "ConfigMap")["data"]["config.yaml"]
                self.assertEqual([target["name"] for target in yaml.safe_load(config)["targets"]], ["alert-test"])
                self.assertEqual(yaml.safe_load(config)["defaults"]["identity"], "none")
                valid, said = agent.validate(config)
                self.assertTrue(valid, said)

    def test_it_works_beside_every_value_of_an_azure_identity(self):
        [binding] = re.findall(r"Add these values.*?```yaml\n(.*?)```", IDENTITY_BINDING.read_text(), re.DOTALL)
        self.assertIn("clientId: ", binding)
        binding = re.sub(r"( *)clientId: (\S+)", r"\1clientId: \2\n\1tenantId: \2", binding)
        for page in PAGES:
            with self.subTest(page=page.name):
                first, second = self.manifests(page, binding)
                self.assertIn("use-identity-binding", str(first))
                self.assertNotIn("use-identity-binding", str(second))

    def test_it_shares_no_object_with_the_first_one_and_is_scraped_as_well(self):
        for page in PAGES:
            with self.subTest(page=page.name):
                first, second = ([(one["kind"], one["metadata"]["name"]) for one in objects] for objects in self.manifests(page))
                self.assertFalse(set(first) & set(second))
                monitors = [[kind for kind, _ in objects if kind.endswith("Monitor")] for objects in (first, second)]
                self.assertEqual(monitors[0], monitors[1])
                self.assertTrue(monitors[0])
                self.assertNotIn("PrometheusRule", [kind for kind, _ in second])

    def test_no_command_sets_an_item_of_a_list(self):
        """Helm would change that item of the user's list, or fill the ones before it with nothing."""
        for page in PAGES:
            self.assertNotRegex(page.read_text(), r"--set\S* \S*\[\d")

    def test_the_deployment_whose_status_is_shown_exists(self):
        for page in PAGES:
            named = re.findall(r"port-forward deployment/(\S+) ", page.read_text())
            _, second = self.manifests(page)
            for name in named:
                self.assertEqual(find(second, "Deployment")["metadata"]["name"], name)


if __name__ == "__main__":
    unittest.main()
