"""What agents say at /status, validated by the schema that `cachepulse schema status` prints."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/monitoring"))
import live  # noqa: E402

TARGET = {"tls": False, "identity": "none", "interval": "500ms"}


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        printed = subprocess.run([live.AGENT, "schema", "status"], capture_output=True, check=True, text=True).stdout
        cls.schema = json.loads(printed)
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="cachepulse-")))
        cls.stack = cls.enterClassContext(contextlib.ExitStack())

    def start(self, name, *command):
        live.start(name, command, self.folder, self.stack)

    def redis(self, name, *options):
        port = live.free_port()
        words = ["--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.start(name, "redis-server", "--port", port, *words, *options)
        live.until(lambda: live.listens(port), 20, f"{name} does not listen")
        return port

    @staticmethod
    def ask(port, *words):
        done = subprocess.run(["redis-cli", "-p", *map(str, [port, *words])], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def agent(self, name, targets):
        """Returns an address that an agent listens on, which probes the targets."""
        listen, config = f"127.0.0.1:{live.free_port()}", self.folder / f"{name}.yaml"
        # JSON is YAML.
        config.write_text(json.dumps({"targets": targets}), "utf-8")
        self.start(name, live.AGENT, "run", "--config", config, "--listen", listen, "--on-invalid-config", "wait")
        live.until(lambda: live.answers(f"http://{listen}/livez"), 20, f"{name} does not answer")
        return listen

    def document(self, listen, is_there):
        """Returns the first document of the agent in which something is there. It is valid."""

        def document():
            with urllib.request.urlopen(f"http://{listen}/status", timeout=10) as response:
                document = json.load(response)
            self.check(document)
            return document if is_there(document) else None

        return live.until(document, 40, f"not in the document: {is_there.__doc__ or is_there}")

    def check(self, document):
        """Fails if the document breaks the schema, or has a key that the schema does not describe."""
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        self.assertIn("date-time", checker.checkers)
        jsonschema.Draft202012Validator(strict(self.schema), format_checker=checker).validate(document)

    def test_the_schema_is_a_schema_and_refuses_what_is_wrong(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)
        valid = {"version": "1", "time": "2026-11-27T05:18:31.000Z", "ready": True, "readiness": "ready", "targets": [], "identities": []}
        self.check(valid)
        for key, value in [("time", "yesterday"), ("time", 1), ("ready", "yes"), ("targets", None), ("unheard", 1)]:
            with self.subTest(key), self.assertRaises(jsonschema.ValidationError):
                self.check({**valid, key: value})
        for key in valid:
            with self.subTest(key), self.assertRaises(jsonschema.ValidationError):
                self.check({name: value for name, value in valid.items() if name != key})

    def test_an_agent_that_waits(self):
        def rejected(document):
            return "config_error" in document

        document = self.document(self.agent("waiting", [{"name": "orders", "attempts": 0}]), rejected)
        self.assertIn("targets[0] (orders).attempts", document["config_error"]["detail"])

    def test_a_target_that_is_up_with_maintenance_and_one_that_fails(self):
        port = self.redis("single")
        up = {"name": "orders", "host": "127.0.0.1", "port": port, "maintenance": True, **TARGET}
        down = {"name": "baskets", "host": "127.0.0.1", "port": live.free_port(), **TARGET}
        listen = self.agent("single-agent", [up, down])
        notice = "NotificationType|NodeMaintenanceStarting|StartTimeInUTC|2099-01-01T00:00:00|IsReplica|False"
        live.until(lambda: self.ask(port, "publish", "AzureRedisEvents", notice) == "1", 20, "the agent does not subscribe")

        def complete(document):
            baskets, orders = document["targets"]
            return baskets["failures"] and orders["recent"] and orders["maintenance"]["events"]

        document = self.document(listen, complete)
        baskets, orders = document["targets"]
        self.assertEqual((baskets["state"], orders["state"]), ("down", "up"))
        self.assertTrue(orders["recent"][0]["clients"]["own_seen"])

    def test_a_cluster_and_a_service_of_sentinels(self):
        bus = live.free_port()
        cluster = self.redis("cluster", "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no")
        self.ask(cluster, "cluster", "addslotsrange", 0, 16000)
        primary, sentinel = self.redis("primary"), live.free_port()
        config = self.folder / "sentinel.conf"
        config.write_text(f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor carts 127.0.0.1 {primary} 1\n", "utf-8")
        self.start("sentinel", "redis-server", config, "--sentinel")
        sessions = {"name": "sessions", "host": "127.0.0.1", "port": cluster, "cluster": {"mode": "all"}, **TARGET}
        carts = {"name": "carts", "sentinel": {"service": "carts", "addresses": [f"127.0.0.1:{sentinel}"]}, **TARGET}

        def complete(document):
            carts, sessions = document["targets"]
            return carts["sentinel"]["primary"] and sessions.get("cluster", {}).get("shards")

        document = self.document(self.agent("whole-agent", [sessions, carts]), complete)
        _, sessions = document["targets"]
        self.assertEqual(sessions["cluster"]["uncovered"], "16001-16383")

    def test_a_token_and_a_connection_by_tls(self):
        listen = f"127.0.0.1:{live.free_port()}"
        self.start("demo", live.AGENT, "demo", "--listen", listen, "--redis-port", "0", "--identity-port", "0")
        live.until(lambda: live.answers(f"http://{listen}/livez"), 20, "the demo does not answer")

        def complete(document):
            recent = [outcome for target in document["targets"] for outcome in target["recent"]]
            return document["identities"] and any(outcome["phases"] for outcome in recent)

        self.document(listen, complete)


def strict(schema):
    """Returns the schema without keys that it does not describe."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


if __name__ == "__main__":
    unittest.main()
