"""Validates a configuration with the real agent. Files have the paths at which the pod mounts them."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from helm import ROOT

FOLDER = "/etc/cachepulse"

# What files of these names contain. Any other file contains a secret.
EXAMPLES = {
    "ca.crt": ROOT / "examples/ca.pem",
    "tls.crt": ROOT / "examples/client.pem",
    "tls.key": ROOT / "examples/secrets/client.key",
}


def binary():
    """Returns the agent built by `cargo build`, or the one in CACHEPULSE."""
    agent = Path(os.environ.get("CACHEPULSE") or ROOT / "target/debug/cachepulse")
    if not agent.is_file():
        raise FileNotFoundError(f"{agent} is not there: run cargo build, or name the agent in CACHEPULSE")
    return agent


def validate(config, paths=(), environment=None):
    """Returns whether a configuration is valid with `paths` mounted, and the output of `cachepulse validate`."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.name in EXAMPLES:
                shutil.copy(EXAMPLES[file.name], file)
            else:
                file.write_text("a-secret")
        file = Path(folder) / "config.yaml"
        file.write_text(config.replace(FOLDER, folder))
        done = subprocess.run([binary(), "validate", file], capture_output=True, text=True, env=environment or {}, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


def mounted(volume):
    """Returns the paths of a projected volume except config.yaml."""
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    return [item["path"] for source in sources for item in source["items"] if item["path"] != "config.yaml"]
