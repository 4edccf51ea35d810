"""Tests the shipped files with hadolint, checkov and yamllint."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

import manifests
from helm import CHART, ROOT, text

BIN = Path(sys.executable).parent
ACCEPTED = yaml.safe_load((ROOT / "tests/chart/checkov.yaml").read_text())
RENDERED = ["workload-identity", "managed-identity", "secrets"]


def checkov(framework, folder):
    """Returns the findings of checkov in a folder, without network access."""
    arguments = ["--framework", framework, "--directory", folder, "--skip-download", "--output", "json", "--compact", "--quiet"]
    environment = {**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"}
    done = subprocess.run([BIN / "checkov", *arguments], capture_output=True, text=True, env=environment, timeout=300)
    report = json.loads(done.stdout)
    assert report["summary"]["resource_count"], done.stderr
    return report["summary"]["passed"], report["results"]["failed_checks"]


class Linters(unittest.TestCase):
    def test_checkov_finds_nothing_that_is_not_accepted_with_a_reason(self):
        used = set()
        with tempfile.TemporaryDirectory() as folder:
            for name in RENDERED:
                manifest = text("helm4", CHART / f"ci/{name}-values.yaml")
                (Path(folder) / f"{name}-values.yaml").write_text(manifest)
            (Path(folder) / "plain.yaml").write_text(manifests.PLAIN.read_text())
            passed, failed = checkov("kubernetes", folder)
        self.assertGreater(passed, 300)
        for one in failed:
            check, kind, file = one["check_id"], one["resource"].split(".")[0], Path(one["file_path"]).stem
            reasons = {check, f"{kind}/{check}", f"{file}/{check}"} & set(ACCEPTED)
            self.assertTrue(reasons, f"{check} {one['check_name']}: {one['resource']} in {file}")
            used |= reasons
        self.assertEqual(used, set(ACCEPTED), "accepted, and never found")

    def test_checkov_finds_nothing_in_the_dockerfile(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Dockerfile").write_text((ROOT / "Dockerfile").read_text())
            passed, failed = checkov("dockerfile", folder)
        self.assertGreater(passed, 10)
        self.assertEqual([one["check_name"] for one in failed], [])

    def test_hadolint_finds_nothing(self):
        done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_yamllint_finds_no_broken_yaml(self):
        files = [file for file in (ROOT / "deploy").rglob("*.yaml") if file.parent.name != "prometheus"]
        files += [CHART / "values.yaml", CHART / "Chart.yaml", *(CHART / "ci").glob("*.yaml")]
        indentation = "indentation: {indent-sequences: whatever}"
        rules = f"{{rules: {{key-duplicates: enable, {indentation}, trailing-spaces: enable, new-line-at-end-of-file: enable}}}}"
        done = subprocess.run([BIN / "yamllint", "--strict", "-d", rules, *files], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout, "")

    def test_the_dockerfile_needs_no_frontend_of_its_own(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        self.assertNotIn("syntax=", dockerfile)
        self.assertNotIn("<<", dockerfile)


if __name__ == "__main__":
    unittest.main()
