"""Lists the functions that an agent executes: `executed.py BINARY FILE`.

BINARY needs its symbols. It runs below callgrind with one target and a managed identity, is scraped in each format, and
loses its connection. That takes two minutes. FILE gets the symbols without the hashes at their ends. `deploy/image/compile` puts these functions
before all others.
"""

import pathlib
import re
import shutil
import sys
import tempfile
import time

from lab import Lab, Tools, get

PROBES = 5
FORMATS = [
    "text/plain",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
]


def main(binary, file):
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: install it (Debian, Ubuntu: sudo apt-get install valgrind)")
    with tempfile.TemporaryDirectory(prefix="executed-") as folder:
        folder = pathlib.Path(folder)
        profile, agent = folder / "profile", folder / "agent"
        callgrind = f"valgrind -q --tool=callgrind --demangle=no --callgrind-out-file={profile}"
        agent.write_text(f'#!/bin/sh\nexec {callgrind} {pathlib.Path(binary).resolve()} "$@"\n')
        agent.chmod(0o755)
        with Lab(Tools(agent, bare=None, folder=folder), folder / "logs") as lab:
            run(lab)
        # `fn=(number) name` where a function is named first. A number after an apostrophe counts recursions.
        names = re.findall(r"^c?fn=\(\d+\) ([^'\n]+)", profile.read_text(), re.MULTILINE)
    names = sorted({re.sub(r"17h[0-9a-f]{16}E$", "", name) for name in names if name.startswith("_")})
    pathlib.Path(file).write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} functions written to {file}")


def run(lab):
    with lab.agent("executed", "1s") as agent:
        agent.wait(PROBES)
        for accepted in FORMATS:
            for encoding in ["identity", "gzip"]:
                get(agent.port, "/metrics", {"Accept": accepted, "Accept-Encoding": encoding})
        get(agent.port, "/livez")
        get(agent.port, "/readyz")
        lab.admin().command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        agent.wait(3 * PROBES)
        # By then, a new connection was probed.
        time.sleep(60)


main(*sys.argv[1:])
