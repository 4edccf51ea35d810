"""The real agent's opinion of a configuration. Its files are put where the pod would have them mounted."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from helm import ROOT

FOLDER = "/etc/cachepulse"


def binary():
    """The agent that `cargo build` made, or the one that CACHEPULSE names."""
    agent = Path(os.environ.get("CACHEPULSE") or ROOT / "target/debug/cachepulse")
    if not agent.is_file():
        raise FileNotFoundError(f"{agent} is not there: run cargo build, or name the agent in CACHEPULSE")
    return agent


def validate(config, paths=(), environment=None):
    """What `cachepulse validate` says of the text of a configuration when `paths` are mounted, and whether it is valid."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".crt":
                shutil.copy(ROOT / "examples/ca.pem", file)
            else:
                file.write_text("a-secret")
        file = Path(folder) / "config.yaml"
        file.write_text(config.replace(FOLDER, folder))
        done = subprocess.run([binary(), "validate", file], capture_output=True, text=True, env=environment or {}, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


def mounted(volume):
    """The paths that a projected volume brings, config.yaml apart."""
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    return [item["path"] for source in sources for item in source["items"] if item["path"] != "config.yaml"]
