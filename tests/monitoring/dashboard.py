"""The dashboard: checks of its JSON, and the queries of its panels."""

import json


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard, rate_interval, span):
    """Yields title and query of every panel, as Grafana sends it for all namespaces and targets."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in (
                ("$__rate_interval", rate_interval),
                ("$__range", span),
                ("$namespace", ".*"),
                ("$target", ".*"),
            ):
                query = query.replace(variable, value)
            assert "$" not in query, f"{panel['title']}: an unknown variable: {query}"
            yield panel["title"], query


def annotations(dashboard):
    """Yields name and query of every annotation, as Grafana sends it for all namespaces and targets."""
    for annotation in dashboard["annotations"]["list"]:
        query = annotation["expr"].replace("$namespace", ".*").replace("$target", ".*")
        assert "$" not in query, f"{annotation['name']}: an unknown variable: {query}"
        assert annotation["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, annotation["name"]
        yield annotation["name"], query


def check(dashboard):
    """Raises if a panel lacks a title, a description, a unit, the data source or a place on the grid."""
    everything = dashboard["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids)), "two panels have one id"
    assert dashboard["uid"] == "cachepulse" and "id" not in dashboard, "links need the uid"
    titles = {}
    row = None
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "namespace", "target"], names
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
            assert source == {"type": "prometheus", "uid": "${datasource}"}, f"{where}: not the chosen data source"
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24, f"{where}: wider than the grid"
    cells = set()
    for panel in everything:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                assert (x, y) not in cells, f"{panel['title']}: overlaps another panel"
                cells.add((x, y))
