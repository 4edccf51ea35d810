"""Checks that `cluster` joins `namespace` and `target` wherever series are aggregated or joined, and alerts are muted:
in the rules, the Alertmanager configuration, the dashboard and the examples of the documentation."""

import re

import dashboard

ROOT = dashboard.FILE.parents[2]


def labels(text):
    return [label.strip() for label in text.split(",") if label.strip()]


def check(text, place):
    """Raises if an aggregation or a join loses the cluster."""
    for line in text.splitlines():
        for operator, listed in re.findall(r"\b(by|on|without|ignoring) \(([^)]*)\)", line):
            names = labels(listed)
            if operator in ("without", "ignoring"):
                kept = not {"cluster", "namespace", "target"} & set(names)
            elif "target" in names or "identity" in names or "instance" in names:
                kept = {"cluster", "namespace"} <= set(names)
            else:
                # A heatmap shows all that is selected; a query with values for all three selects one target. A join on
                # nothing asks whether there is anything at all.
                kept = "cluster" in names or (operator, names) in (("by", ["le"]), ("on", [])) or re.search(r"cluster=%(?:\[1\])?q.*,target=", line)
            assert kept, f"{place}: {operator} ({listed}) mixes clusters: {line.strip()}"
        for listed in re.findall(r"\b(?:equal|group_by): \[([^]]*)\]", line):
            assert {"cluster", "namespace", "target"} <= set(labels(listed)), f"{place}: mixes clusters: {line.strip()}"


def sources():
    """Yields place and text of everything with a query or a list of labels."""
    for path in ("deploy/prometheus/rules.yaml", "deploy/prometheus/alertmanager.yaml"):
        yield path, (ROOT / path).read_text("utf-8")
    board = dashboard.load(dashboard.FILE)
    for panel in dashboard.panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "charts/cachepulse/README.md"]:
        for block in re.findall(r"```(?:promql|yaml)\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            yield path.relative_to(ROOT), block


if __name__ == "__main__":
    checked = [check(text, place) for place, text in sources()]
    assert len(checked) > 50, "the queries were not found"
    print(f"{len(checked)} texts keep clusters apart")
