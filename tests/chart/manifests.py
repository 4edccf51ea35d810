"""Writes the plain manifests in deploy/: the output of the chart without Helm's labels."""

import yaml

from helm import ROOT, objects, text

VALUES = ROOT / "deploy/kubernetes/values.yaml"
PLAIN = ROOT / "deploy/kubernetes/cachepulse.yaml"
BASE = ROOT / "deploy/kustomize/base/agent.yaml"
HEADER = "# Rendered from the chart by `make manifests`.\n"


def without_helm(document):
    """Returns the object without Helm's labels, also on its pods."""
    for metadata in [document["metadata"], document.get("spec", {}).get("template", {}).get("metadata", {})]:
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            metadata.get("labels", {}).pop(label, None)
    return document


def rendered(*files, namespace):
    # The agent reloads a changed configuration by itself. A checksum would be wrong after the first manual change.
    # `helm test` and its policy need Helm.
    arguments = ("--no-hooks", "--set", "restartOnConfigChange=false")
    manifest = text("helm4", *files, release="cachepulse", namespace=namespace, arguments=arguments)
    kept = [one for one in objects(manifest) if one["metadata"]["labels"]["app.kubernetes.io/component"] != "test"]
    return [without_helm(document) for document in kept]


def plain():
    return rendered(VALUES, namespace="monitoring")


def base():
    """Returns the manifest without the configuration, which kustomize generates, and without a namespace."""
    kept = []
    for document in rendered(ROOT / "charts/cachepulse/ci/smallest-values.yaml", namespace="unused"):
        document["metadata"].pop("namespace")
        if document["kind"] != "ConfigMap":
            kept.append(document)
    return kept


class Readable(yaml.SafeDumper):
    """Writes text of several lines as a block."""


Readable.add_representer(
    str, lambda dumper, one: dumper.represent_scalar("tag:yaml.org,2002:str", one, style="|" if "\n" in one else None)
)


def written(documents):
    return HEADER + yaml.dump_all(documents, Dumper=Readable, sort_keys=False, width=1000)


if __name__ == "__main__":
    PLAIN.write_text(written(plain()))
    BASE.write_text(written(base()))
