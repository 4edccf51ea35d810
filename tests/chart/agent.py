"""Validates a configuration with the real agent. Files have the paths at which the pod mounts them."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from helm import ROOT

FOLDER = "/etc/cachepulse"
WEB_FOLDER = "/etc/cachepulse-web"

# Far longer than any step takes, in seconds.
LONG = 40

# What files of these names contain. Any other file contains a secret.
EXAMPLES = {
    "ca.crt": ROOT / "examples/ca.pem",
    "tls.crt": ROOT / "examples/client.pem",
    "tls.key": ROOT / "examples/secrets/client.key",
    "entra.crt": ROOT / "examples/secrets/client-certificate.pem",
    "entra.key": ROOT / "examples/secrets/client-certificate.pem",
}

# A user of the endpoint, whose password is "example".
WEB_CONFIG = "basic_auth_users: {prometheus: $2b$10$3su7aya3MsjH6f5lI/wifOUFE4dcox1xY9cFaYcMxG.IMNojlyhCa}\n"


def binary():
    """Returns the agent built by `cargo build`, or the one in CACHEPULSE."""
    agent = Path(os.environ.get("CACHEPULSE") or ROOT / "target/debug/cachepulse")
    if not agent.is_file():
        raise FileNotFoundError(f"{agent} is not there: run cargo build, or name the agent in CACHEPULSE")
    return agent


def validate(config, paths=(), environment=None):
    """Returns whether a configuration is valid with `paths` mounted, and the output of `cachepulse validate`."""
    with tempfile.TemporaryDirectory() as folder:
        file = mount(folder, config, paths)
        done = subprocess.run([binary(), "validate", file], capture_output=True, text=True, env=environment or {}, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


def mount(folder, config, paths):
    """Writes what a pod mounts, and returns the file with the configuration."""
    for path in paths:
        file = Path(folder) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.name in EXAMPLES:
            shutil.copy(EXAMPLES[file.name], file)
        else:
            file.write_text("a-secret")
    for name in re.findall(rf"{WEB_FOLDER}/(\S+)", config):
        web = Path(folder) / "web" / name
        web.parent.mkdir(exist_ok=True)
        web.write_text(WEB_CONFIG)
    file = Path(folder) / "config.yaml"
    file.write_text(config.replace(WEB_FOLDER, f"{folder}/web").replace(FOLDER, folder))
    return file


@contextlib.contextmanager
def running(arguments, environment=None):
    """Runs the agent with a container's arguments on a free port, and yields its log."""
    listen = {**(environment or {}), "CACHEPULSE_LISTEN": "127.0.0.1:0"}
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen([binary(), *arguments], stdout=log, stderr=log, env=listen)
        try:
            yield Path(log.name)
            assert process.poll() is None, Path(log.name).read_text()
            process.terminate()
            assert process.wait(LONG) == 0, Path(log.name).read_text()
        finally:
            process.kill()
            process.wait()


def logged(log, message):
    """Waits until the agent has logged `message`, and returns its log."""
    deadline = time.monotonic() + LONG
    while message not in (text := log.read_text()):
        assert time.monotonic() < deadline, f"not in the log: {message}\n{text}"
        time.sleep(0.05)
    return text


def begins_when_mounted(arguments, config, paths):
    """Runs the agent with a container's arguments before its volume has anything, and mounts it."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [argument.replace(FOLDER, folder) for argument in arguments]
        # The ports of the container may be taken on this machine.
        for flag in ("--listen", "--health-listen"):
            if flag in arguments:
                arguments[arguments.index(flag) + 1] = "127.0.0.1:0"
        with running(arguments) as log:
            text = logged(log, "agent waiting")
            assert ("health_listen=" in text) == ("--health-listen" in arguments), text
            mount(folder, config, paths)
            logged(log, "agent started")


def mounted(volume):
    """Returns the paths of a projected volume except config.yaml."""
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    return [item["path"] for source in sources for item in source["items"] if item["path"] != "config.yaml"]
