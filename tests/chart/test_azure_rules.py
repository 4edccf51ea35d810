"""Tests the rules for Azure Monitor: that they are current, equal in both languages, and what Azure accepts."""

import json
import re
import tempfile
import unittest
from datetime import timedelta

from azure.mgmt.prometheusrulegroups import models
from pycep import BicepParser

import azure_rules
from azure_rules import ARM, BICEP
from helm import ROOT, find, render

GIVEN = {
    "workspaceId": "/subscriptions/s/resourcegroups/g/providers/microsoft.monitor/accounts/w",
    "location": "westeurope",
    "clusterName": "west",
    "actionGroupIds": ["/subscriptions/s/one", "/subscriptions/s/two"],
    "objective": "0.95",
    "runbookUrl": "https://wiki/pages",
    "statusUrl": "https://status.shop",
}


class Template:
    """Evaluates the expressions that the ARM template uses."""

    def __init__(self, given):
        self.template = json.loads(ARM.read_text())
        self.parameters = {name: given.get(name, one.get("defaultValue")) for name, one in self.template["parameters"].items()}
        self.variables = {"actions": [{"actionGroupId": id} for id in self.parameters["actionGroupIds"]]}
        [loop] = self.template["variables"]["copy"]
        assert (loop["name"], loop["count"]) == ("actions", "[length(parameters('actionGroupIds'))]")
        assert loop["input"] == {"actionGroupId": "[parameters('actionGroupIds')[copyIndex('actions')]]"}
        self.variables["suffix"] = self.value(self.template["variables"]["suffix"])

    def resources(self):
        return self.value(self.template["resources"])

    def value(self, one):
        if isinstance(one, dict):
            return {key: self.value(inner) for key, inner in one.items()}
        if isinstance(one, list):
            return [self.value(inner) for inner in one]
        if not isinstance(one, str) or not (one.startswith("[") and one.endswith("]")):
            return one
        # The functions are Python's; texts are quoted as Python quotes them.
        text = re.sub(r"'((?:[^']|'')*)'", lambda quoted: repr(quoted[1].replace("''", "'")), one[1:-1])
        functions = {
            "format": lambda text, *arguments: text.format(*arguments),
            "parameters": self.parameters.__getitem__,
            "variables": self.variables.__getitem__,
            "empty": lambda one: not one,
            "null": lambda: None,
            "choose": lambda condition, yes, no: yes if condition else no,
        }
        return eval(re.sub(r"^if\(", "choose(", text), {"__builtins__": {}}, functions)


def bicep_value(one, names):
    """Returns a value of the parsed Bicep file, with the names replaced by what they stand for."""
    if isinstance(one, dict) and "operator" in one:
        case = one["operator"]["operands"]
        name = case["condition"]["function"]["parameters"]["item_to_test"]
        return bicep_value(case["true_value" if not names[name] else "false_value"], names)
    if isinstance(one, dict):
        return {key: bicep_value(inner, names) for key, inner in one.items()}
    if isinstance(one, list):
        return [bicep_value(inner, names) for inner in one]
    if isinstance(one, str):
        if one in names:
            return names[one]
        text = re.sub(r"\$\{(\w+)\}", lambda name: names[name[1]], one)
        return re.sub(r"\\(.)", r"\1", text) if "\\'" in text or "\\\\" in text else text
    return one


class Rules(unittest.TestCase):
    groups = [one["properties"] | {"name": one["name"]} for one in Template(GIVEN).resources()]
    rules = [rule for group in groups for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]

    def test_all_files_are_up_to_date(self):
        for file, content in azure_rules.written().items():
            self.assertEqual(file.read_text(), content, f"{file.name} is stale: run make azure-rules")

    def test_bicep_and_the_arm_template_create_the_same_resources(self):
        parsed = BicepParser().parse(text=BICEP.read_text())
        self.assertEqual(set(parsed["parameters"]), set(GIVEN))
        loop = parsed["variables"]["actions"]["value"]
        self.assertEqual(loop["loop_type"]["detail"], {"item_name": "id", "array_name": "actionGroupIds"})
        self.assertEqual(loop["config"], {"actionGroupId": "id"})
        for given in (GIVEN, GIVEN | {"clusterName": "", "actionGroupIds": []}):
            template = Template(given)
            names = given | template.variables
            self.assertEqual(bicep_value(parsed["variables"]["suffix"]["value"], names), template.variables["suffix"])
            resources = [
                {"type": one["type"], "apiVersion": one["api_version"]} | bicep_value(one["config"], names)
                for one in parsed["resources"].values()
            ]
            self.assertEqual(resources, template.resources())

    def test_every_rule_of_prometheus_is_there_under_its_name(self):
        names = re.findall(r"- (?:alert|record): (\S+)", azure_rules.SOURCE.read_text())
        self.assertEqual([rule.get("alert") or rule.get("record") for rule in self.rules], names)

    def test_the_official_client_knows_every_property(self):
        def known(model, given, path):
            fields = {field._rest_name for field in model._attr_to_rest_field.values()}
            self.assertLessEqual(set(given), fields, path)

        for resource in Template(GIVEN).resources():
            group = models.PrometheusRuleGroupResource({key: resource[key] for key in ("location", "properties")})
            known(group.properties, resource["properties"], "properties")
            self.assertIsInstance(group.properties.interval, timedelta)
            for rule, given in zip(group.properties.rules, resource["properties"]["rules"], strict=True):
                known(rule, given, "rule")
                self.assertTrue(rule.expression)
                if rule.alert:
                    known(rule.resolve_configuration, given["resolveConfiguration"], "resolveConfiguration")
                    self.assertIsInstance(rule.resolve_configuration.time_to_resolve, timedelta)
                    self.assertIsInstance(rule.severity, int)
                    if "for" in given:
                        self.assertIsInstance(rule.for_property, timedelta)
                    for action, one in zip(rule.actions, given["actions"], strict=True):
                        known(action, one, "action")

    # Source of the limits: Microsoft Learn on rule groups, and the schema of az-prom-rules-converter.
    def test_groups_are_within_the_limits(self):
        for group in self.groups:
            self.assertRegex(group["name"], r"^[^:@/#{}%&+*<>?]+$")
            self.assertEqual(group["scopes"], [GIVEN["workspaceId"]])
            self.assertRegex(group["interval"], r"^PT([1-9]|1[0-5])M$")
            self.assertTrue(1 <= len(group["rules"]) <= 20, group["name"])

    def test_rules_are_within_the_limits(self):
        for rule in self.rules:
            self.assertRegex(rule.get("for", "PT1M"), r"^PT[0-9]+[MH]$")
            self.assertLessEqual(len(rule.get("labels", {})), 10)
            for name, value in {**rule.get("labels", {}), **rule.get("annotations", {})}.items():
                self.assertRegex(name, r"^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$")
                self.assertLessEqual(len(value), 1024)

    def test_severities_are_numbers_and_every_alert_notifies(self):
        for alert in self.alerts:
            self.assertEqual(alert["severity"], {"critical": 1, "warning": 2}[alert["labels"]["severity"]])
            self.assertEqual([one["actionGroupId"] for one in alert["actions"]], GIVEN["actionGroupIds"])

    def test_annotations_use_labels_and_values_only_and_refer_to_the_status(self):
        source = azure_rules.SOURCE.read_text()
        self.assertGreater(source.count("| query }}"), 5)
        linked = 0
        for alert in self.alerts:
            for text in alert["annotations"].values():
                for action in re.findall(r"\{\{(.*?)\}\}", text):
                    self.assertRegex(action, r"^ \$(labels\.\w+|value|value \| humanizePercentage) $")
                self.assertNotRegex(text, r"; reason[^;]*: *(\.|$)|  ")
            # A full stop after the link would become part of it.
            linked += alert["annotations"]["description"].endswith(f" {GIVEN['statusUrl']}")
        self.assertGreaterEqual(linked, source.count("| query }}"))

    def test_no_alert_has_a_label_that_changes_during_an_outage(self):
        for alert in self.alerts:
            for labels in re.findall(r"by \(([^)]*)\)", alert["expression"]):
                self.assertNotIn("reason", labels)
            self.assertNotIn("$labels.reason", json.dumps(alert))

    def test_the_objective_needs_no_series_without_a_cluster(self):
        for rule in self.rules:
            self.assertNotIn("scalar(", rule["expression"])
            self.assertNotIn("vector(", rule["expression"])
            self.assertNotIn("0.999", rule["expression"])
        objectives = [rule["expression"] for rule in self.rules if "0.95" in rule["expression"]]
        self.assertEqual(len(objectives), 4)

    def test_without_a_cluster_the_groups_read_all_of_them(self):
        [first, *_] = Template({key: value for key, value in GIVEN.items() if key != "clusterName"}).resources()
        self.assertEqual((first["name"], first["properties"]["clusterName"]), ("cachepulse-availability", None))
        self.assertEqual((self.groups[0]["name"], self.groups[0]["clusterName"]), ("cachepulse-availability-west", "west"))


class Page(unittest.TestCase):
    """The commands and values of the page that installs all this."""

    text = (ROOT / "docs/install/aks-azure-monitor.md").read_text()

    def test_its_deployment_names_the_file_and_parameters_that_it_has(self):
        [command] = [block for block in blocks(self.text, "sh") if "az deployment group create" in block]
        self.assertIn(f"--template-file {BICEP.relative_to(ROOT)} ", command)
        given = re.findall(r"\s(\w+)=", command.split("--parameters")[1])
        known = json.loads(ARM.read_text())["parameters"]
        self.assertEqual(given, ["workspaceId", "clusterName", "location", "actionGroupIds"])
        self.assertLessEqual(set(given), set(known))
        self.assertLessEqual({name for name, one in known.items() if "defaultValue" not in one}, set(given))
        for name in set(known) - set(given):
            self.assertIn(f"`{name}`", self.text)

    def test_its_values_create_a_monitor_for_azure(self):
        [values, _] = blocks(self.text, "yaml")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(values)
            file.flush()
            manifest = render(file.name)
        self.assertEqual(find(manifest, "PodMonitor")["apiVersion"], "azmonitoring.coreos.com/v1")

    def test_every_command_continues_and_every_variable_is_set(self):
        commands = "".join(blocks(self.text, "sh"))
        used = set(re.findall(r"\$(\w+)", commands))
        self.assertTrue(used)
        self.assertLessEqual(used, set(re.findall(r"(?:^|\s)(\w+)=", commands, re.MULTILINE)))


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


if __name__ == "__main__":
    unittest.main()
