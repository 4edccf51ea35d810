"""The dashboard: what must hold of its JSON, and the queries of its panels."""

import json


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard, rate_interval, span):
    """Every query as Grafana would send it with all namespaces and targets chosen: (panel's title, query)."""
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
            assert "$" not in query, f"{panel['title']}: a variable that nobody sets: {query}"
            yield panel["title"], query


def check(dashboard):
    """Raises where the JSON is not what Grafana and people need."""
    everything = dashboard["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids)), "two panels have one id"
    assert dashboard["uid"] == "cachepulse" and "id" not in dashboard, "the uid is what links hold on to"
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
                assert (x, y) not in cells, f"{panel['title']}: lies on another panel"
                cells.add((x, y))
