"""The dashboard: checks of its JSON, and the queries of its panels. Run it to check the JSON alone."""

import json
import pathlib
import re

FILE = pathlib.Path(__file__).resolve().parents[2] / "deploy/grafana/dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES = ("cluster", "namespace", "target")


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def sent(query, place, **more):
    """Returns a query as Grafana sends it for all clusters, namespaces and targets."""
    for variable, value in {**more, **dict.fromkeys(VARIABLES, ".*")}.items():
        query = query.replace(f"${variable}", value)
    assert "$" not in query, f"{place}: an unknown variable: {query}"
    return query


def queries(dashboard, rate_interval, span):
    """Yields title and query of every panel."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], sent(target["expr"], panel["title"], __rate_interval=rate_interval, __range=span)


def annotations(dashboard):
    """Yields name and query of every annotation."""
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], sent(annotation["expr"], annotation["name"])


def check(dashboard):
    """Raises if the dashboard is incomplete, or does not work in Azure Managed Grafana or with several clusters."""
    check_layout(dashboard)
    check_variables(dashboard)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            check_query(target["expr"], panel["title"])
            legend = target["legendFormat"]
            names = "{{target}}" in legend or "{{instance}}" in legend or "{{identity}}" in legend
            assert not names or legend.startswith("{{cluster}} {{namespace}} "), f"{panel['title']}: ambiguous: {legend}"
    for annotation in dashboard["annotations"]["list"]:
        check_query(annotation["expr"], annotation["name"])
        assert annotation["datasource"] == SOURCE, annotation["name"]


def check_variables(dashboard):
    """The data source of Azure lists label values by its API /series: of one metric, and without regular expressions."""
    source, *others = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus"), source
    assert tuple(variable["name"] for variable in others) == VARIABLES, others
    for variable in others:
        name = variable["name"]
        assert re.fullmatch(rf"label_values\(\w+, {name}\)", variable["definition"]), variable["definition"]
        assert variable["query"]["query"] == variable["definition"], f"{name}: two different queries"
        assert variable["datasource"] == SOURCE, f"{name}: not the chosen data source"
        # `.*` also matches series without the label.
        assert variable["includeAll"] and variable["allValue"] == ".*", f"{name}: absent labels must match"


def check_query(query, place):
    """Every selector names one metric, and selects the cluster. Azure refuses queries without the name of a metric."""
    for metric, matchers in re.findall(r"([\w:]*)\{([^}]*)\}", query):
        assert metric and "__name__" not in matchers, f"{place}: a selector without the name of a metric: {query}"
        assert 'cluster=~"$cluster"' in matchers, f"{place}: {metric} of every cluster: {query}"
    bare = re.search(r"\bcachepulse[_:][\w:]+(?![\w:{])", query)
    assert not bare, f"{place}: {bare and bare[0]} of every cluster: {query}"


def check_layout(dashboard):
    """Raises if a panel lacks a title, a description, a unit, the data source or a place on the grid."""
    everything = dashboard["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids)), "two panels have one id"
    assert dashboard["uid"] == "cachepulse" and "id" not in dashboard, "links need the uid"
    titles = {}
    row = None
    for panel in everything:
        if panel["type"] == "row":
            row = panel["title"]
            continue
        where = f"{row} / {panel['title']}"
        assert where not in titles, f"{where}: two panels with one title"
        titles[where] = True
        assert panel["description"].endswith("."), f"{where}: no description"
        assert panel["fieldConfig"]["defaults"].get("unit"), f"{where}: no unit"
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert source == SOURCE, f"{where}: not the chosen data source"
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24, f"{where}: wider than the grid"
    cells = set()
    for panel in everything:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                assert (x, y) not in cells, f"{panel['title']}: overlaps another panel"
                cells.add((x, y))


if __name__ == "__main__":
    check(load(FILE))
    print("the dashboard is complete")
