"""Writes the rules for Azure Monitor from those for Prometheus: a Bicep file, the same as an ARM template, and the groups
that the chart renders for Azure Service Operator. `make azure-rules` runs it."""

import json
import re

import yaml

from helm import CHART, ROOT

SOURCE = ROOT / "deploy/prometheus/rules.yaml"
BICEP = ROOT / "deploy/azure/rules.bicep"
ARM = ROOT / "deploy/azure/rules.json"
GROUPS = CHART / "files/azure-rules.json"
TYPE, VERSION = "Microsoft.AlertsManagement/prometheusRuleGroups", "2023-03-01"
HEADER = "Written by `make azure-rules` from deploy/prometheus/rules.yaml."

# Azure knows numbers: 0 is the most severe.
SEVERITIES = {"critical": 1, "warning": 2, "info": 3}
# Source: Microsoft Learn, "Azure Monitor managed service for Prometheus rule groups".
MOST_RULES, SHORTEST_INTERVAL = 20, 60
# The begin of every summary.
CLUSTER = "{{ with or $labels.cluster $externalLabels.cluster }}[{{ . }}] {{ end }}"

# Texts of the groups that are parameters of the templates, and values of the chart.
PARAMETERS = {
    "0.999": "objective",
    "https://example.com/runbooks": "runbookUrl",
    "http://127.0.0.1:9860/status": "statusUrl",
}
OBJECTIVE, _, STATUS = PARAMETERS
DESCRIPTIONS = {
    "location": "Region of the rule groups.",
    "workspaceId": "Resource id of the Azure Monitor workspace.",
    "clusterName": "The label `cluster` of the series. If empty, the rules read all clusters of the workspace.",
    "actionGroupIds": "Resource ids of the action groups that every alert notifies.",
    "objective": "The share of time that a cache must be available, between 0 and 1.",
    "runbookUrl": "Where your team reads docs/runbooks.",
    "statusUrl": "The page /status of the agent. The default is that of `kubectl port-forward`.",
}


def groups():
    """Returns the groups as Azure takes them. Parameters have their defaults."""
    return [group(one) for one in yaml.safe_load(SOURCE.read_text())["groups"]]


def group(source):
    rules = [rule(one) for one in source["rules"]]
    assert 0 < len(rules) <= MOST_RULES, f"{source['name']}: {len(rules)} rules"
    return {"name": source["name"], "interval": duration(source["interval"]), "rules": rules}


def rule(source):
    expression = " ".join(source["expr"].split())
    # A label that changes during an outage would be a new alert, with a new notification.
    expression = expression.replace("(cluster, namespace, target, reason)", "(cluster, namespace, target)")
    assert re.search("cachepulse[_:]", expression), f"no metric: {expression}"
    if "record" in source:
        return {"record": source["record"], "expression": expression}
    converted = {"alert": source["alert"], "expression": expression}
    if "for" in source:
        converted["for"] = duration(source["for"])
    return converted | {
        "severity": SEVERITIES[source["labels"]["severity"]],
        "labels": source["labels"],
        "annotations": annotations(source["annotations"]),
        "resolveConfiguration": {"autoResolved": True, "timeToResolve": "PT5M"},
    }


def duration(text):
    """Returns an ISO 8601 duration. A shorter one than a minute is a minute, since nothing is evaluated in between."""
    number, unit = re.fullmatch(r"(\d+)([smh])", text).groups()
    seconds = int(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    return "PT1M" if seconds <= SHORTEST_INTERVAL else f"PT{number}{unit.upper()}"


def annotations(source):
    """Returns annotations that use labels and values only. What a query shows in Prometheus is on the page /status."""
    text = re.sub(r"; reason[^:;]*: \{\{ (with .*?\{\{ end|\$labels\.reason) \}\}\.", ".", source["description"])
    text = re.sub(r" Denied steps:\{\{ range .*?\{\{ end \}\}\.", "", text)
    text = re.sub(r" The agent's /status [^.]*\.", "", text)
    if text != source["description"]:
        text += f" The agent's /status has the details: {STATUS}"
    return {
        "summary": source["summary"].replace(CLUSTER, "[{{ $labels.cluster }}] "),
        "description": text.replace("{{ $value | humanizeDuration }}", "{{ $value }} seconds"),
        "runbook_url": source["runbook_url"],
    }


class Code:
    """An expression, in both languages."""

    def __init__(self, bicep, arm):
        self.bicep, self.arm = bicep, f"[{arm}]"


def resource(one):
    """Returns a group as a resource, in the order in which people read it."""
    name, rules = one["name"], one["rules"]
    return {
        "name": Code(f"'{name}${{suffix}}'", f"format('{name}{{0}}', variables('suffix'))"),
        "location": Code("location", "parameters('location')"),
        "properties": {
            "scopes": [Code("workspaceId", "parameters('workspaceId')")],
            "clusterName": Code(
                "empty(clusterName) ? null : clusterName",
                "if(empty(parameters('clusterName')), null(), parameters('clusterName'))",
            ),
            "interval": one["interval"],
            "rules": [rule | ({"actions": Code("actions", "variables('actions')")} if "alert" in rule else {}) for rule in rules],
        },
    }


def bicep_template():
    lines = [f"// {HEADER}", "", "targetScope = 'resourceGroup'", ""]
    for name, parameter in parameters().items():
        default = parameter.get("defaultValue")
        lines += [f"@description({bicep(DESCRIPTIONS[name])})"]
        lines += [f"param {name} {parameter['type']}" + ("" if default is None else f" = {bicep(default, literal=True)}"), ""]
    lines += ["var suffix = empty(clusterName) ? '' : '-${clusterName}'", "var actions = [for id in actionGroupIds: {"]
    lines += ["  actionGroupId: id", "}]"]
    for one in groups():
        symbol = re.sub(r"-(\w)", lambda letter: letter[1].upper(), one["name"])
        lines += ["", f"resource {symbol} '{TYPE}@{VERSION}' = {bicep(resource(one))}"]
    return "\n".join(lines) + "\n"


def arm_template():
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": {"description": HEADER},
        "parameters": {
            name: parameter_arm(parameter) | {"metadata": {"description": DESCRIPTIONS[name]}}
            for name, parameter in parameters().items()
        },
        "variables": {
            "copy": [
                {
                    "name": "actions",
                    "count": "[length(parameters('actionGroupIds'))]",
                    "input": {"actionGroupId": "[parameters('actionGroupIds')[copyIndex('actions')]]"},
                }
            ],
            "suffix": "[if(empty(parameters('clusterName')), '', format('-{0}', parameters('clusterName')))]",
        },
        "resources": [{"type": TYPE, "apiVersion": VERSION} | arm(resource(one)) for one in groups()],
    }
    return json.dumps(template, indent=2, ensure_ascii=False) + "\n"


def parameters():
    """Returns the parameters of both templates, those without a default first."""
    text = {default: {"type": "string", "defaultValue": default} for default in PARAMETERS}
    return {
        "workspaceId": {"type": "string"},
        "location": {"type": "string", "defaultValue": Code("resourceGroup().location", "resourceGroup().location")},
        "clusterName": {"type": "string", "defaultValue": ""},
        "actionGroupIds": {"type": "array", "defaultValue": []},
        **{name: text[default] for default, name in PARAMETERS.items()},
    }


def parameter_arm(parameter):
    default = parameter.get("defaultValue")
    return parameter | ({"defaultValue": default.arm} if isinstance(default, Code) else {})


def split(text):
    """Yields the parts of a text: literals, and the parameters between them."""
    for part in re.split("(" + "|".join(map(re.escape, PARAMETERS)) + ")", text):
        if part:
            yield PARAMETERS.get(part), part


def bicep(value, indent="", literal=False):
    """Returns a value in Bicep. Unless `literal`, the texts that are parameters refer to them."""
    inner = f"{indent}  "
    if isinstance(value, Code):
        return value.bicep
    if isinstance(value, dict):
        return "{\n" + "".join(f"{inner}{key}: {bicep(one, inner)}\n" for key, one in value.items()) + f"{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + "".join(f"{inner}{bicep(one, inner)}\n" for one in value) + f"{indent}]"
    if isinstance(value, str):
        escaped = lambda text: re.sub(r"(\\|'|\$(?=\{))", r"\\\1", text)
        parts = [(None, value)] if literal else split(value)
        return "'" + "".join(f"${{{name}}}" if name else escaped(part) for name, part in parts) + "'"
    return json.dumps(value)


def arm(value):
    """Returns a value as in an ARM template."""
    if isinstance(value, Code):
        return value.arm
    if isinstance(value, dict):
        return {key: arm(one) for key, one in value.items()}
    if isinstance(value, list):
        return [arm(one) for one in value]
    if not isinstance(value, str):
        return value
    parts = list(split(value))
    names = list(dict.fromkeys(name for name, _ in parts if name))
    if not names:
        # What begins and ends with a bracket would be an expression.
        assert not (value.startswith("[") and value.endswith("]")), value
        return value
    escaped = lambda text: text.replace("'", "''").replace("{", "{{").replace("}", "}}")
    text = "".join(f"{{{names.index(name)}}}" if name else escaped(part) for name, part in parts)
    return f"[format('{text}', {', '.join(f'parameters({chr(39)}{name}{chr(39)})' for name in names)})]"


def written():
    """Returns each file with its content."""
    shipped = json.dumps({"groups": groups()}, indent=2, ensure_ascii=False) + "\n"
    return {BICEP: bicep_template(), ARM: arm_template(), GROUPS: shipped}


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content)
