"""Writes the rules for Azure Monitor as rules for Prometheus into a folder, for promtool: azure.py FOLDER

The tests of the recorded availability are copied there, since they must hold with Azure's intervals too."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ("deploy/prometheus/tests/availability.yaml", "tests/monitoring/azure.yaml")
# How often Azure evaluates the groups with alerts.
INTERVAL = "evaluation_interval: 1m\n"


def duration(text):
    return re.fullmatch(r"PT(\d+[MH])", text)[1].lower()


def rule(one):
    kept = {"record": "record", "alert": "alert", "expression": "expr", "labels": "labels", "annotations": "annotations"}
    converted = {kept[key]: value for key, value in one.items() if key in kept}
    return converted | ({"for": duration(one["for"])} if "for" in one else {})


def groups():
    for group in json.loads((ROOT / "charts/cachepulse/files/azure-rules.json").read_text("utf-8"))["groups"]:
        yield {"name": group["name"], "interval": duration(group["interval"]), "rules": [rule(one) for one in group["rules"]]}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    (folder / "rules.yaml").write_text(json.dumps({"groups": list(groups())}), "utf-8")
    for path in TESTS:
        text = (ROOT / path).read_text("utf-8")
        text, files = re.subn(r"(?m)^rule_files: .*$", "rule_files: [rules.yaml]", text)
        text, intervals = re.subn(r"(?m)^evaluation_interval: .*\n", INTERVAL, text)
        assert (files, intervals) == (1, 1), path
        (folder / pathlib.Path(path).name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
