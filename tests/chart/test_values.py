"""Tests that values.yaml, its schema, its README and the templates agree."""

import json
import re
import tempfile
import unittest
from pathlib import Path

import readme
from helm import CHART, Refused, text

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def schema_of(path):
    """Returns the schema of the value at `path`, or None."""
    schema = SCHEMA
    for key in path:
        while "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        schema = schema.get("properties", {}).get(key)
        if schema is None:
            return None
    return schema


class Values(unittest.TestCase):
    def test_every_value_has_a_comment_and_a_schema(self):
        for path in readme.leaves():
            with self.subTest(".".join(path)):
                self.assertIn(path, readme.PATHS)
                self.assertIsNotNone(schema_of(path))

    def test_the_schema_knows_no_other_values(self):
        known = {path[0] for path in readme.leaves()} | {"global", "enabled"}
        self.assertEqual(set(SCHEMA["properties"]), known)

    def test_every_mapping_of_ours_refuses_unknown_keys(self):
        def walk(schema, path):
            if isinstance(schema, dict):
                if "properties" in schema and schema.get("type") == "object" and "required" not in schema:
                    self.assertIn("additionalProperties", schema, path)
                for key, inner in schema.items():
                    walk(inner, f"{path}/{key}")

        walk({key: one for key, one in SCHEMA["properties"].items() if key != "global"}, "")
        walk(SCHEMA["definitions"], "definitions")
        self.assertIs(SCHEMA["additionalProperties"], False)

    def test_every_value_is_used(self):
        templates = "\n".join(file.read_text() for file in (CHART / "templates").rglob("*.*"))
        for path in readme.leaves():
            with self.subTest(".".join(path)):
                # By its whole path, or within a block of its section.
                whole = re.escape("." + ".".join(path)) + r"\b"
                self.assertRegex(templates, rf"{whole}|\.Values\.config\b|with [$.]*Values\.{path[0]}\b[\s\S]*\.{path[-1]}\b|\$(wi|account)\.{path[-1]}\b")

    def test_a_null_in_place_of_a_default_is_refused_with_words_or_harmless(self):
        with tempfile.TemporaryDirectory() as folder:
            on, null = Path(folder, "on.yaml"), Path(folder, "null.yaml")
            on.write_text(json.dumps({"networkPolicy": {"enabled": True}, "podDisruptionBudget": {"enabled": True}}))
            paths = {path[:length] for path in readme.leaves() for length in range(1, len(path) + 1)}
            azure = {path for path in paths if path[0] in ("monitor", "prometheusRule")}
            for values, paths in (("everything", paths), ("azure-monitor", azure)):
                base = CHART / f"ci/{values}-values.yaml"
                for path in sorted(paths):
                    value = None
                    for key in reversed(path):
                        value = {key: value}
                    null.write_text(json.dumps(value))
                    with self.subTest(".".join(path), values=values):
                        try:
                            manifest = text("helm4", base, on, null)
                        except Refused as refused:
                            self.assertRegex(str(refused), r"missing property|cachepulse: ")
                        else:
                            self.assertNotRegex(manifest, r"<nil>|apiVersion: /")

    def test_the_table_in_the_readme_is_up_to_date(self):
        self.assertEqual(readme.README.read_text(), readme.readme(), "run make chart-readme")


if __name__ == "__main__":
    unittest.main()
