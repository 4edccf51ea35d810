"""Lists the functions that an agent executes: `executed.py BINARY FILE`.

BINARY needs its symbols. It runs below callgrind, once with one target and a managed identity, and once with a cluster. Each
time it is scraped in each format and loses its connections. That takes four minutes. FILE gets the symbols without the
hashes at their ends, those of the cluster last. `deploy/image/compile` puts these functions before all others.
"""

import pathlib
import re
import shutil
import sys
import tempfile
import time

from lab import Admin, Lab, Tools, get

PROBES = 5
SHARDS = 3
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
            with lab.agent("one", "1s") as one:
                use(one, [lab.admin()])
            names = sorted(functions(profile))
            with lab.cluster(SHARDS) as ports, lab.agent_of("cluster", "1s", [{"port": ports[0]}]) as cluster:
                use(cluster, [Admin(lab, port) for port in ports])
            # Apart, because an agent without a cluster does not execute them.
            names += sorted(functions(profile) - set(names))
    pathlib.Path(file).write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} functions written to {file}")


def use(agent, servers):
    """Has the agent probe, answer, and lose its connections to `servers`."""
    agent.wait(PROBES)
    for accepted in FORMATS:
        for encoding in ["identity", "gzip"]:
            get(agent.port, "/metrics", {"Accept": accepted, "Accept-Encoding": encoding})
    get(agent.port, "/livez")
    get(agent.port, "/readyz")
    for server in servers:
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    agent.wait(3 * PROBES)
    # By then, a new connection was probed.
    time.sleep(60)


def functions(profile):
    """Returns the functions of an agent that has ended, without the hashes at their ends."""
    # `fn=(number) name` where a function is named first. A number after an apostrophe counts recursions.
    names = re.findall(r"^c?fn=\(\d+\) ([^'\n]+)", profile.read_text(), re.MULTILINE)
    return {re.sub(r"17h[0-9a-f]{16}E$", "", name) for name in names if name.startswith("_")}


main(*sys.argv[1:])
