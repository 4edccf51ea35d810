"""What one target costs, and how precise its latencies are."""

import json
import os
import statistics
import subprocess
import time

from figures import MIB, MILLISECOND, Check, Row, micros, mib, optional, quantile


def cpu_per_probe(lab, results, scale):
    """CPU of one probe on a warm connection, each at ten probes a second."""
    window = scale.window(60)
    probes = int(window * 10)
    with lab.agent("cpu", "100ms") as agent:
        agent.wait(10)
        before = agent.total("cachepulse_probes_total")
        cpu = agent.process.cpu()
        time.sleep(window)
        cpu = agent.process.cpu() - cpu
        per_probe = cpu / (agent.total("cachepulse_probes_total") - before)
        agent.few_failures()
    results.peer("cachepulse", "CPU per probe", f"{per_probe / MILLISECOND:.3f} ms")

    bare = lab.bare_probe(100, probes)
    bare.finish()
    of_bare = (bare.told[-1] - bare.told[0]) / (probes - 1) / 1e9
    results.peer("bare loop", "CPU per probe", f"{of_bare / MILLISECOND:.3f} ms")
    checks = [Check("relative to the bare loop", per_probe / of_bare, 1.1, "{:.2f}")]

    with optional(results, "quickstart in Python"):
        quickstart = lab.quickstart(0.1, probes, stdout=subprocess.PIPE)
        with quickstart:
            told = json.loads(quickstart.child.communicate()[0] or "null")
        if told is None:
            quickstart.check()
        results.peer("quickstart in Python", "CPU per probe", f"{told['cpu'] / MILLISECOND:.3f} ms")
        results.peer("quickstart in Python", "PING median", micros(statistics.median(told["pings"])))
        checks.append(Check("relative to the Python loop", per_probe / told["cpu"], 0.5, "{:.2f}"))
    for name, start, limit in [
        ("blackbox_exporter", lab.blackbox_exporter, 0.1),
        ("redis_exporter", lab.redis_exporter, None),
    ]:
        with optional(results, name):
            exporter = start()
            with exporter.process as process:
                for _ in range(5):
                    exporter.probe()
                cpu = process.cpu()
                count = max(probes // 3, 10)
                for _ in range(count):
                    exporter.probe()
                    time.sleep(0.05)
                cpu = (process.cpu() - cpu) / count
            results.peer(name, "CPU per probe", f"{cpu / MILLISECOND:.3f} ms")
            if limit:
                checks.append(Check(f"relative to {name}", per_probe / cpu, limit, "{:.3f}"))
    results.rows.append(
        Row(
            "cpu",
            "CPU per probe (PING, SET, GET, CLIENT LIST on a warm connection)",
            "≤ 1.10 of the bare loop, below half of the Python loop, below a tenth of blackbox_exporter",
            f"{per_probe / MILLISECOND:.3f} ms of user and system time for each of {probes} probes at ten a second; for "
            "exporters, of a scrape that probes",
            checks,
        )
    )


def system_calls(lab, results, scale):
    """System calls of one probe on a warm connection, as strace counts them."""
    window = scale.window(100)
    counted = lab.folder / "system-calls"
    with lab.agent("system-calls", "100ms", user="single") as agent:
        agent.wait(10)
        with lab.start("strace", ["strace", "-f", "-c", "-o", counted, "-p", agent.process.child.pid]) as strace:
            while not agent.process.is_traced():
                strace.check()
                time.sleep(0.01)
            before = agent.total("cachepulse_probes_total")
            time.sleep(window)
            probes = agent.total("cachepulse_probes_total") - before
        agent.few_failures()
    # The columns are share, seconds, microseconds per call, calls, errors if there are any, and the name.
    lines = [line.split() for line in counted.read_text().splitlines()]
    calls = {line[-1]: int(line[3]) for line in lines if len(line) >= 5 and line[3].isdigit()}
    of_probes = {name: calls.get(name, 0) / probes for name in ["sendto", "writev", "recvfrom", "epoll_wait", "epoll_pwait", "write"]}
    results.rows.append(
        Row(
            "calls",
            "system calls per probe on a warm connection (four commands)",
            "≤ 14: write, wait and read per command, and two waits for the tick",
            f"`strace -f -c` during {probes:.0f} probes at ten a second: "
            + ", ".join(f"{name} {count:.2f}" for name, count in of_probes.items() if count),
            [Check("", sum(of_probes.values()), 14, "{:.2f}")],
        )
    )


def latency(lab, results, scale):
    """PING reported by the agent, next to a bare loop at the same time and rate."""
    window = scale.window(60)
    with lab.agent("latency", "100ms", user="single") as agent:
        agent.wait(20)
        # Not 100 ms: the two loops would then reach the server always or never at the same time.
        bare = lab.bare_ping(97, int(window / 0.0972))
        pings = watch_pings(agent, window)
        bare = bare.finish()
        agent.few_failures()
    medians = statistics.median(pings), statistics.median(bare)
    tails = quantile(pings, 0.99), quantile(bare, 0.99)
    results.single_ping = medians[0]
    results.peer("cachepulse", "PING median", micros(medians[0]))
    results.peer("bare loop", "PING median", micros(medians[1]))
    with optional(results, "redis-cli --latency"):
        results.peer("redis-cli --latency", "PING median", redis_cli(lab))
    results.rows.append(
        Row(
            "latency",
            "PING latency reported by the agent, relative to the bare loop",
            "median ≤ 1.04, p99 ≤ 1.10",
            f"{len(pings)} and {len(bare)} round trips in the same {window:.0f} s, each at ten a second; medians "
            f"{micros(medians[0])} and {micros(medians[1])}, p99 {micros(tails[0])} and {micros(tails[1])}",
            [
                Check("median", medians[0] / medians[1], 1.04, "{:.2f}"),
                Check("p99", tails[0] / tails[1], 1.1, "{:.2f}"),
            ],
        )
    )


def watch_pings(agent, seconds):
    """Returns every PING of an agent with ten probes a second, whose status keeps the last ten."""
    pings = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pings.update(agent.recent_pings())
        time.sleep(0.5)
    return list(pings.values())


def redis_cli(lab):
    """Returns the mean of one run of redis-cli, which prints milliseconds with two digits and no median."""
    args = ["redis-cli", "--tls", "--cacert", lab.ca_file, "-h", "localhost", "-p", lab.port]
    args += ["--user", "single", "--latency", "--raw"]
    environment = {**os.environ, "REDISCLI_AUTH": lab.password}
    done = subprocess.run([str(arg) for arg in args], env=environment, capture_output=True, text=True, timeout=30)
    words = done.stdout.split()
    if len(words) < 4:
        raise RuntimeError(f"unexpected output of redis-cli: {done.stdout!r} {done.stderr!r}")
    return f"mean {float(words[2]) * 1000:.0f} µs of {words[3]}, in steps of 10"


def start(lab, results, scale):
    """From the start of the process to the first result on /metrics."""
    took = []
    for number in range(scale.count(20)):
        with lab.agent(f"start-{number % 5}", "10s") as agent:
            while True:
                try:
                    if agent.total("cachepulse_probe_success") == 1:
                        break
                except OSError:
                    agent.process.check()
                time.sleep(0.001)
            took.append(time.monotonic() - agent.started)
    results.rows.append(
        Row(
            "start",
            "from start to the first result on /metrics",
            "≤ 15 ms",
            f"{len(took)} starts with a managed identity, /metrics read every millisecond; slowest "
            f"{max(took) / MILLISECOND:.0f} ms",
            [Check("median", statistics.median(took) / MILLISECOND, 15, "{:.1f} ms")],
        )
    )


def loss(lab, results, scale):
    """From the moment the server closes a connection to its count in the metrics."""
    took = []
    admin = lab.admin()
    with lab.agent("loss", "10s", user="single") as agent:
        agent.wait(1)
        for _ in range(scale.count(20)):
            opened = agent.total("cachepulse_connects_total")
            lost = agent.total("cachepulse_disconnects_total")
            began = time.monotonic()
            admin.command("CLIENT", "KILL", "USER", "single")
            while agent.total("cachepulse_disconnects_total") == lost:
                if time.monotonic() - began > 15:
                    raise RuntimeError("a lost connection was not noticed within 15 s")
                time.sleep(0.001)
            took.append(time.monotonic() - began)
            while agent.total("cachepulse_connects_total") == opened:
                time.sleep(0.02)
    results.rows.append(
        Row(
            "loss",
            "from the loss of a connection to its count on /metrics",
            "≤ 100 ms",
            f"{len(took)} times CLIENT KILL between ticks, /metrics read every millisecond; median "
            f"{statistics.median(took) / MILLISECOND:.1f} ms",
            [Check("slowest", max(took) / MILLISECOND, 100, "{:.1f} ms")],
        )
    )


def size(lab, results, _scale):
    """The released binary."""
    stripped = lab.tools.agent.stat().st_size
    results.peer("cachepulse", "binary", mib(stripped))
    for name, package in [
        ("redis_exporter", "prometheus-redis-exporter"),
        ("blackbox_exporter", "prometheus-blackbox-exporter"),
    ]:
        with optional(results, name):
            results.peer(name, "binary", mib(lab.tools.exporter(package).stat().st_size))
    results.rows.append(
        Row(
            "size",
            "stripped binary",
            "≤ 4.2 MiB",
            "the static binary of the image",
            [Check("", stripped / MIB, 4.2, "{:.2f} MiB")],
        )
    )
