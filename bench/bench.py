"""`make bench`: measures every figure in one run, prints the table and writes it to a file.

`bench.py AGENT BARE FOLDER OUTPUT` runs the binaries of the agent and of the bare loop, installs the peers in FOLDER and
writes OUTPUT. BENCH_SECONDS shortens the run for work on the harness.
"""

import os
import pathlib
import resource
import sys
import time

import formats
import many
import report
import shards
import single
from figures import Results, Row, Scale, say
from lab import Lab, Tools
from resident import Residents

HERE = pathlib.Path(__file__).resolve().parent


def main(agent, bare, folder, output):
    seconds = int(os.environ.get("BENCH_SECONDS", 300))
    scale = Scale(seconds)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tools = Tools(pathlib.Path(agent), pathlib.Path(bare), pathlib.Path(folder).resolve())
    say("installing the peers")
    tools.install()
    versions = tools.versions()
    busy = os.getloadavg()[0]
    versions["load"] = f"{busy:.2f}"
    if busy > 0.5:
        say(f"the machine is busy (load {busy:.1f}): the figures will be worse than on an idle machine")
    results = Results()
    began = time.monotonic()
    with Lab(tools, tools.folder / "logs") as lab:
        residents = attempt("residents", lambda: Residents(lab, results), results)
        for measure in [
            single.size,
            single.latency,
            single.cpu_per_probe,
            single.system_calls,
            single.start,
            single.loss,
            formats.one,
        ]:
            attempt(measure.__name__, lambda measure=measure: measure(lab, results, scale), results)
        if residents:
            attempt("residents", lambda: residents.finish(seconds), results)
            residents.stop()
        for measure in [shards.shards, formats.thousand, many.many, many.curve]:
            attempt(measure.__name__, lambda measure=measure: measure(lab, results, scale), results)
    say(f"done after {time.monotonic() - began:.0f} s")
    order = ["memory", "cpu", "calls", "latency", "shards", "many", "reconnects", "curve", "scrape", "formats", "scrapes", "start", "loss", "idle", "size", "delay"]
    results.rows.sort(key=lambda row: order.index(row.key) if row.key in order else len(order))
    report.write(pathlib.Path(output), results, versions, report.reasons(HERE / "reasons.json"), seconds)
    for row in results.rows:
        print(f"{row.figure}\n    {report.measured(row)}\n    {report.verdict(row)}")
    print(f"written to {output}")


def attempt(name, measure, results):
    """Measures. A failure becomes a row, and the run continues."""
    say(name.replace("_", " "))
    try:
        return measure()
    # An error in one row must not lose the others.
    except Exception as error:
        say(f"{name} failed: {error!r}")
        results.rows.append(Row(name, name.replace("_", " "), "", "", problem=f"{error}"))
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
