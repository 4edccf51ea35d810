"""The agent's log, read by parsers that others wrote."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import logfmtkv

BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "cachepulse").absolute()
LONG = 40

# A directive that is no directive comes back in a warning, whatever is in it.
HOSTILE = 'a b="c" \'d\' \\ \n\r\t\x1b[31m\x7f\u0085\u2028 é'
ARGUMENTS = ["run", "--listen", "127.0.0.1:0", "--host", "127.0.0.1", "--port", "1", "--tls", "false", "--identity", "none"]


def log(format):
    """What an agent logs whose cache refuses connections, from its start to its end."""
    with tempfile.TemporaryFile("w+b") as file:
        agent = subprocess.Popen(
            [BINARY, *ARGUMENTS, "--name", "orders", "--interval", "1s"],
            env={"RUST_LOG": HOSTILE, "CACHEPULSE_LOG_FORMAT": format},
            stderr=file,
        )
        try:
            deadline = time.monotonic() + LONG
            while b"cache unavailable" not in os.pread(file.fileno(), 1 << 20, 0):
                if time.monotonic() > deadline:
                    sys.exit("not in the log: cache unavailable")
                time.sleep(0.05)
            agent.send_signal(signal.SIGTERM)
            agent.wait(LONG)
        finally:
            agent.kill()
        text = os.pread(file.fileno(), 1 << 20, 0).decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


class Log(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text, cls.json = log("text"), log("json")
        cls.parsed = [logfmtkv.parse(line, strict=True, duplicates="error") for line in cls.text]

    def test_every_line_is_logfmt(self):
        messages = [line["msg"] for line in self.parsed]
        self.assertEqual(messages[0], "RUST_LOG directive ignored")
        self.assertEqual(messages[-3:], ["cache unavailable", "shutdown started", "shutdown completed"])
        self.assertEqual([line["target"] for line in self.parsed if line["msg"] == "cache unavailable"], ["orders"])

    def test_both_formats_have_the_same_keys_and_no_other_line_breaks(self):
        for text, parsed, line in zip(self.text, self.parsed, self.json, strict=True):
            self.assertEqual(list(parsed), list(json.loads(line)))
            self.assertEqual((len(text.splitlines()), len(line.splitlines())), (1, 1))

    def test_what_a_line_quotes_comes_back_as_it_was(self):
        for line in (self.parsed[0], json.loads(self.json[0])):
            self.assertEqual(line["directive"], HOSTILE.strip())

    def test_a_viewer_finds_the_events_by_their_level(self):
        klp = pathlib.Path(sys.executable).with_name("klp")
        for format, lines in (("logfmt", self.text), ("jsonl", self.json)):
            found = subprocess.run(
                [klp, "--input-format", format, "--output-format", "jsonl", "--loglevels", "warn"],
                input="\n".join(lines), capture_output=True, check=True, text=True,
            )
            messages = [json.loads(line)["msg"] for line in found.stdout.strip().split("\n")]
            self.assertEqual(messages, ["RUST_LOG directive ignored", "cache unavailable"], found.stderr)


if __name__ == "__main__":
    unittest.main()
