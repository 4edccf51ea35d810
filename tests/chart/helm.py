"""Renders the chart with Helm 3 and Helm 4."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/cachepulse"
TOOLS = Path(os.environ.get("CHART_TOOLS", ROOT / "target/chart-tools"))
HELMS = {name: TOOLS / name / "helm/helm" for name in ("helm3", "helm4")}
KUBECTL = TOOLS / "helm4/kubectl/kubectl"

# The oldest version that the chart supports, the first with native sidecars, one more, and the newest with a schema.
KUBERNETES = ["1.25", "1.29", "1.33", "1.37"]
MONITORING = ["monitoring.coreos.com/v1"]

CI = sorted((CHART / "ci").glob("*.yaml"))
SMALLEST = CHART / "ci/smallest-values.yaml"


class Refused(Exception):
    """An error of Helm, with its text."""


def run(helm, *arguments):
    """Returns the output of `helm`."""
    # Without the user's settings and without a cluster.
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
    done = subprocess.run(
        [HELMS[helm], *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def text(helm, *files, chart=CHART, release="r", namespace="shop", version="1.33", apis=(), arguments=()):
    """Returns the manifest of a release as text."""
    values = [word for file in files for word in ("--values", file)]
    capabilities = ["--kube-version", version, *(word for api in apis for word in ("--api-versions", api))]
    return run(helm, "template", release, chart, "--namespace", namespace, *values, *capabilities, *arguments)


@functools.cache
def render(*files, **options):
    """Returns the objects that both versions of Helm render. They must be equal."""
    first, second = (text(helm, *files, **options) for helm in HELMS)
    assert objects(first) == objects(second), f"Helm 3 and Helm 4 differ for {files}"
    return tuple(objects(first))


def objects(manifest):
    return [document for document in yaml.load_all(manifest, UniqueKeys) if document]


def find(manifest, kind, name=None):
    """Returns the only object of this kind, or the one with this name."""
    found = [one for one in manifest if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def workload(manifest):
    """Returns the agent's Deployment, or the StatefulSet of a fleet."""
    kind = "StatefulSet" if any(one["kind"] == "StatefulSet" for one in manifest) else "Deployment"
    return find(manifest, kind)


def oldest(file):
    """Returns the oldest Kubernetes version for a file of ci/: that of its comment, or that of the chart."""
    said = re.search(r"^# kubernetes: (\S+)$", file.read_text(), re.MULTILINE)
    return said[1] if said else KUBERNETES[0]


def versions(file):
    as_numbers = lambda version: [int(part) for part in version.split(".")]
    return [version for version in KUBERNETES if as_numbers(version) >= as_numbers(oldest(file))]


def application(folder):
    """Creates the parent chart with this chart as a dependency in `folder`."""
    chart = Path(folder) / "application"
    if not chart.exists():
        shutil.copytree(ROOT / "tests/chart/application", chart)
        shutil.copytree(CHART, chart / "charts/cachepulse")
    return chart


class UniqueKeys(yaml.SafeLoader):
    """Rejects duplicate keys, which YAML forbids and PyYAML accepts."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = {key for key in keys if keys.count(key) > 1}
        assert not repeated, f"{node.start_mark}: twice: {repeated}"
        return super().construct_mapping(node, deep)


# SafeLoader cannot load `=`, which is a value of its own in YAML 1.1.
UniqueKeys.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)
