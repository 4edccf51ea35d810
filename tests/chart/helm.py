"""The chart as the real Helm 3 and Helm 4 render it. What is in it is judged elsewhere."""

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

# The oldest that the chart takes, the first with native sidecars, one between, and the newest with a schema.
KUBERNETES = ["1.25", "1.29", "1.33", "1.37"]
MONITORING = ["monitoring.coreos.com/v1"]

CI = sorted((CHART / "ci").glob("*.yaml"))
SMALLEST = CHART / "ci/smallest-values.yaml"


class Refused(Exception):
    """Helm ended with an error; its text."""


def run(helm, *arguments):
    """What `helm` prints."""
    # Neither the user's own settings nor a cluster.
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
    done = subprocess.run(
        [HELMS[helm], *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def text(helm, *files, chart=CHART, release="r", namespace="shop", version="1.33", apis=(), arguments=()):
    """The manifest of a release, as text."""
    values = [word for file in files for word in ("--values", file)]
    capabilities = ["--kube-version", version, *(word for api in apis for word in ("--api-versions", api))]
    return run(helm, "template", release, chart, "--namespace", namespace, *values, *capabilities, *arguments)


@functools.cache
def render(*files, **options):
    """The manifest of both Helms, which must agree, as a tuple of objects."""
    first, second = (text(helm, *files, **options) for helm in HELMS)
    assert objects(first) == objects(second), f"Helm 3 and Helm 4 differ for {files}"
    return tuple(objects(first))


def objects(manifest):
    return [document for document in yaml.load_all(manifest, UniqueKeys) if document]


def find(manifest, kind, name=None):
    """The one object of this kind, and name if more than one is there."""
    found = [one for one in manifest if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def oldest(file):
    """The oldest Kubernetes that a file of ci/ is for: the chart's own, unless a comment says otherwise."""
    said = re.search(r"^# kubernetes: (\S+)$", file.read_text(), re.MULTILINE)
    return said[1] if said else KUBERNETES[0]


def versions(file):
    as_numbers = lambda version: [int(part) for part in version.split(".")]
    return [version for version in KUBERNETES if as_numbers(version) >= as_numbers(oldest(file))]


def application(folder):
    """The parent chart with this chart inside, in `folder`."""
    chart = Path(folder) / "application"
    if not chart.exists():
        shutil.copytree(ROOT / "tests/chart/application", chart)
        shutil.copytree(CHART, chart / "charts/cachepulse")
    return chart


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that comes twice, which YAML forbids and PyYAML lets pass."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = {key for key in keys if keys.count(key) > 1}
        assert not repeated, f"{node.start_mark}: twice: {repeated}"
        return super().construct_mapping(node, deep)


# `=` is a value in YAML 1.1 that nobody means and SafeLoader cannot load.
UniqueKeys.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)
