"""docs/performance.md, written from one run."""

import datetime
import json
import os
import pathlib
import platform

from figures import MICROSECOND, micros, mib
from lab import output


def write(file, results, versions, reasons, seconds):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(results, versions, reasons, seconds))


def text(results, versions, reasons, seconds):
    met = sum(row.met for row in results.rows)
    parts = [
        "# Performance\n",
        "After reading this page you know what the agent costs, how precise its latencies are, and how it compares with\n"
        "other tools. `make bench` writes this page (harness: `bench/`). All figures come from one run on one machine,\n"
        "against redis-server over TLS on loopback. Compare ratios; absolute times differ between machines.\n",
        machine(versions, seconds),
        f"## The agent: {met} of {len(results.rows)} goals met\n",
        table(
            ["Figure", "Goal", "Measured", "Result"],
            [[row.figure, row.target, measured(row), verdict(row)] for row in results.rows],
        ),
        *misses(results, reasons),
        "## Comparison with other tools\n",
        peers(results.peers),
        "The quickstart is Azure's example for Python (redis-py, azure-identity), run in a loop. `blackbox_exporter` opens\n"
        "a connection for each probe (TLS, `AUTH`, `PING`), and `redis_exporter` reads `INFO` and more. Both probe when\n"
        "they are scraped. The bare loop is blocking rustls without anything else, so it is the lower limit. It sends\n"
        "`PING` for the latency, and all four commands for the CPU.\n",
        *scrapes(results.scrapes),
        *growth(results.curve),
        *loads(results.load),
        "## How each figure was measured\n",
        "\n".join(f"- **{row.figure}**: {row.how}." for row in results.rows if row.how) + "\n",
        "With many targets, the user may not run `CLIENT LIST`: the command is sent and denied. Otherwise each probe would\n"
        "receive the list of thousands of connections to this one server, which is not realistic.\n",
        "CPU time is user and system time of all threads, from the scheduler (`/proc/<pid>/task/*/schedstat`).\n",
    ]
    return "\n".join(parts)


def machine(versions, seconds):
    facts = {
        "Date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "Machine": f"{cpu_model()}, {os.cpu_count()} cores, {memory()}",
        "System": f"{platform.system()} {platform.release()}, load average before the run {versions.pop('load')}",
        "Agent": f"commit {output(['git', 'describe', '--always', '--dirty'])}",
        **versions,
        "To repeat": f"`make bench`{'' if seconds >= 300 else f' BENCH_SECONDS={seconds}'}",
    }
    return table(["", ""], [[key, value] for key, value in facts.items()])


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory():
    return mib(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def measured(row):
    return ", ".join(check.measured for check in row.checks) or "not measured"


def verdict(row):
    if row.problem:
        return f"not measured: {row.problem}"
    if row.met:
        return "met"
    missed = [check for check in row.checks if not check.met]
    if len(row.checks) == 1:
        return missed[0].verdict
    return "; ".join(f"{check.what or 'figure'} {check.verdict}" for check in missed)


def misses(results, reasons):
    missed = [row for row in results.rows if not row.met]
    if missed:
        yield "### Missed goals, and why\n"
        yield "\n".join(
            f"- **{row.figure}**: {row.problem or reasons.get(row.key, 'not explained yet')}" for row in missed
        ) + "\n"


def peers(told):
    columns = ["resident memory", "CPU at rest", "CPU per probe", "PING median", "binary"]
    rows = [
        [name, *(figures.get(column, figures.get("problem", "–")) for column in columns)]
        for name, figures in told.items()
    ]
    return table(["", *columns], rows)


def scrapes(rows):
    if rows:
        yield "## Scrapes in each format\n"
        yield "The targets are probed every 10 s. In parentheses is the agent's `metrics.histograms`.\n"
        yield table(
            ["Targets", "Format", "Size", "Median", "Size with gzip", "Median with gzip"],
            [
                [scrape.targets, scrape.format, *(text for way in (scrape.plain, scrape.gzip) for text in way.texts)]
                for scrape in rows
            ],
        )


def growth(curve):
    if curve:
        yield f"## From 1 to {curve[-1]['targets']} targets, every 10 s\n"
        yield table(
            ["Targets", "CPU of one core", "Memory", "Memory per target", "PING median", "Late ticks", "At start: late, failed"],
            [
                [
                    point["targets"],
                    f"{point['cpu'] * 100:.2f} %",
                    mib(point["rss"]),
                    per_target(point, curve[0]),
                    micros(point["ping"]),
                    f"{point['late']:.0f}",
                    ", ".join(f"{count:.0f}" for count in point["at_first"]),
                ]
                for point in curve
            ],
        )
        yield "`At start: late, failed` counts late ticks and failed probes while all connections are opened at once. Most of that\ntime is the server's, which runs every handshake on one thread.\n"


def per_target(point, first):
    more = point["targets"] - first["targets"]
    return f"{(point['rss'] - first['rss']) / more / 1024:.1f} KiB" if more else "–"


def loads(rows):
    if rows:
        yield "## Latency under load\n"
        yield (
            "The same targets under growing load, together with a bare loop under the same load. If the agent's PING and\n"
            "the bare loop's PING both grow, the machine is slow, and the scheduler delay grows too. A slow cache does not\n"
            "change the scheduler delay.\n"
        )
        yield table(
            ["Situation", "PING median / p99", "Bare loop", "Mean scheduler delay", "Late ticks", "Failed probes", "CPU"],
            [
                [
                    row["situation"],
                    " / ".join(micros(value) for value in row["agent"]),
                    " / ".join(micros(value) for value in row["bare"]),
                    "not reported" if row["delay"] is None else f"{row['delay'] / MICROSECOND:.0f} µs",
                    f"{row['late']:.0f}",
                    f"{row['failed']:.0f}",
                    f"{row['cpu'] * 100:.1f} %",
                ]
                for row in rows
            ],
        )


def reasons(file):
    return json.loads(file.read_text()) if file.exists() else {}
