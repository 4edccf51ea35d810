"""`cachepulse schema`, by a real validator of JSON Schema: what is valid passes, and what it can know to be wrong does
not."""

import json
import re
import subprocess
import unittest

import jsonschema
import yaml

import agent
from helm import ROOT

# Mistakes that a schema cannot know: they depend on files, on the environment or on other keys, or the form of the value
# is right and its range is not.
UNKNOWABLE = {
    "authorities",
    "ca-file-broken",
    "ca-file-endless",
    "ca-file-is-a-directory",
    "ca-file-missing",
    "ca-file-without-certificate",
    "cert-file-without-certificate",
    "client-certificate-elliptic-curve",
    "client-certificate-encrypted",
    "client-certificate-missing",
    "client-certificate-of-another-key",
    "client-certificate-pkcs12",
    "duplicate-key-identity",
    "duplicate-key-target",
    "duplicate-key-top",
    "duplicate-name",
    "expect-role-in-a-cluster",
    "host-connection-string",
    "host-contradicts",
    "host-url",
    "http-health-listen",
    "http-health-listen-default",
    "http-listen",
    "identity-same-label",
    "interval-absurd",
    "interval-zero",
    "key-file-of-another-certificate",
    "key-file-without-key",
    "key-with-hash-tag",
    "labels-too-long",
    "name-in-another-case",
    "partition",
    "partition-copies",
    "path-is-a-secret",
    "plaintext-token",
    "plaintext-token-by-defaults",
    "plaintext-token-of-a-named-identity",
    "secret-unreadable",
    "sentinel-of-a-cluster",
    "shutdown-grace-period",
    "timeouts",
    "token-same-label",
}


class Yaml12(yaml.SafeLoader):
    """YAML 1.2, as the agent reads it: `off` and `no` are text."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))


def load(file):
    return yaml.load(file.read_text(encoding="utf-8"), Yaml12)


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        text = subprocess.run([agent.binary(), "schema"], capture_output=True, text=True, check=True, timeout=60).stdout
        cls.schema = json.loads(text)
        cls.validator = jsonschema.Draft202012Validator(cls.schema)

    def test_it_is_a_schema_in_both_dialects(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)
        jsonschema.Draft7Validator.check_schema(self.schema)

    def test_every_example_is_valid_in_both_dialects(self):
        examples = sorted((ROOT / "examples").glob("*.yaml"))
        self.assertGreaterEqual(len(examples), 2)
        for file in examples:
            for validator in (self.validator, jsonschema.Draft7Validator(self.schema)):
                with self.subTest(file.name, dialect=type(validator).__name__):
                    self.assertEqual([], [error.message for error in validator.iter_errors(load(file))])

    def test_the_example_and_the_default_of_every_key_are_valid(self):
        def walk(schema, path):
            if not isinstance(schema, dict):
                return
            for value in [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]:
                with self.subTest(path, value=value):
                    jsonschema.Draft202012Validator(schema).validate(value)
            for part in [schema, schema.get("then", {}), schema.get("items", {})]:
                for key, inner in part.get("properties", {}).items():
                    walk(inner, f"{path}/{key}")

        walk(self.schema, "")

    def test_every_mistake_that_a_schema_can_know_is_refused(self):
        files = sorted((ROOT / "tests/config/invalid").glob("*.yaml"))
        self.assertGreater(len(files), 50)
        for file in files:
            try:
                document = load(file)
            except (yaml.YAMLError, RecursionError, ValueError):
                # Not even YAML, to this reader.
                continue
            with self.subTest(file.stem):
                self.assertEqual(self.validator.is_valid(document), file.stem in UNKNOWABLE)

    def test_keys_of_the_users_own_and_merge_keys_are_allowed(self):
        target = {"name": "a", "host": "a"}
        for valid in [{"x-anchors": {"a": 1}, "targets": [target]}, {"targets": [target | {"<<": [{"port": 1}]}]}]:
            self.validator.validate(valid)
        self.assertFalse(self.validator.is_valid({"y-anchors": {}, "targets": [target]}))


if __name__ == "__main__":
    unittest.main()
