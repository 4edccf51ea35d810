"""Many targets in one process: without load, scraped, on a busy machine, and in growing numbers."""

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass

from figures import MIB, MILLISECOND, Check, Row, mib, quantile, say


def many(lab, results, scale):
    """Many targets every second in one process: without load, scraped, and on a busy machine."""
    targets = 1000 if scale.full else 100
    with lab.agent("many", "1s", targets, user="many") as agent:
        agent.wait(3)
        alone, pings = situation("alone", agent, scale.window(40), lab, results)
        results.rows.append(
            Row(
                "many",
                f"{targets} targets every second in one process, each with its own TLS connection",
                "no late tick, ≤ 12 % of a core, ≤ 24 MiB, PING median ≤ 1.05 × that of a single target",
                f"{alone.seconds:.0f} s after three probes of each target, without scrapes; "
                f"{alone.cpu / targets / MILLISECOND:.3f} ms of CPU per probe; at start, "
                f"{agent.late_at_first:.0f} late ticks and {agent.failed_at_first:.0f} failed probes",
                [
                    Check("late ticks", alone.late, 0, "{:.0f}"),
                    Check("failed probes", alone.failed, 0, "{:.0f}"),
                    Check("core", alone.cpu * 100, 12, "{:.1f} %"),
                    Check("memory", alone.rss / MIB, 24, "{:.1f} MiB"),
                    Check("PING", statistics.median(pings) / results.single_ping, 1.05, "{:.2f}"),
                ],
            )
        )

        window = scale.window(20)
        plain = lab.bare_scrape(agent.port, "identity", 950, 5)
        plain_times = plain.finish()
        # Not a whole second: scrapes must not always coincide with the same probes.
        zipped = lab.bare_scrape(agent.port, "gzip", 950, int(window) + 1)
        scraped, scraped_pings = situation("scraped every second", agent, window, lab, results)
        times = zipped.finish()
        moved = statistics.median(scraped_pings) / statistics.median(pings)
        results.rows.append(
            Row(
                "scrapes",
                f"scrape of /metrics, {targets} targets, while they are probed every second",
                "below 50 ms, no late tick, PING median unchanged (≤ 1.1)",
                f"{len(times)} scrapes with gzip ({zipped.told[-1] / MIB:.2f} MiB), fastest "
                f"{min(times) / MILLISECOND:.0f} ms, slowest {max(times) / MILLISECOND:.0f} ms; without gzip ({plain.told[-1] / MIB:.1f} MiB) median "
                f"{statistics.median(plain_times) / MILLISECOND:.0f} ms; peak memory "
                f"{mib(agent.process.peak_rss())}",
                [
                    Check("median", statistics.median(times) / MILLISECOND, 50, "{:.1f} ms"),
                    Check("late ticks", scraped.late, 0, "{:.0f}"),
                    Check("PING", moved, 1.1, "{:.2f}"),
                ],
            )
        )

        reconnects(agent, targets, lab, results)
        with Hogs():
            zipped = lab.bare_scrape(agent.port, "gzip", 950, int(window) + 1)
            situation("scraped, with a CPU hog on each core", agent, window, lab, results)
            zipped.finish()
    delay = [row["delay"] for row in results.load]
    results.rows.append(
        Row(
            "delay",
            f"the agent reports its own delay under load ({targets} targets, scrapes, CPU hogs)",
            "`cachepulse_scheduler_delay_seconds` exists and grows with the load",
            "its mean in each situation; see Latency under load",
            [
                Check("situations without the metric", sum(value is None for value in delay), 0, "{:.0f}"),
                Check("mean without load relative to mean with hogs", ratio(delay[0], delay[-1]), 1, "{:.2f}"),
            ],
        )
    )


def reconnects(agent, targets, lab, results):
    """All targets lose their connection at once."""
    opened, late = (agent.total(f"cachepulse_{name}_total") for name in ["connects", "late_ticks"])
    began = time.monotonic()
    lab.admin().command("CLIENT", "KILL", "USER", "many")
    while True:
        # A scrape takes part of what it measures.
        time.sleep(0.1)
        metrics = agent.metrics()
        took = time.monotonic() - began
        is_back = agent.total("cachepulse_connects_total", metrics) - opened >= targets
        if is_back and agent.total("cachepulse_probe_success", metrics) == targets:
            break
        if took > 60:
            raise RuntimeError("not every target was back within 60 s")
    late = agent.total("cachepulse_late_ticks_total", metrics) - late
    results.rows.append(
        Row(
            "reconnects",
            f"{targets} targets lose their connection at once",
            "all up again within 2 s, ≤ 60 MiB, no late tick",
            "from CLIENT KILL to the scrape in which the last one is connected and up; one scrape every 0.1 s; peak "
            "memory, as in all of this process before",
            [
                Check("", took, 2, "{:.1f} s"),
                Check("memory", agent.process.peak_rss() / MIB, 60, "{:.1f} MiB"),
                Check("late ticks", late, 0, "{:.0f}"),
            ],
        )
    )


def ratio(value, other):
    return value / other if value is not None and other else float("inf")


def situation(name, agent, seconds, lab, results):
    """Observes probes for a while, next to a bare loop under the same load."""
    bare = lab.bare_ping(50, int(seconds * 18))
    observed = observe(agent, seconds)
    pings = list(agent.recent_pings().values())
    bare = bare.finish()
    results.load.append(
        {
            "situation": name,
            "agent": (statistics.median(pings), quantile(pings, 0.99)),
            "bare": (statistics.median(bare), quantile(bare, 0.99)),
            "late": observed.late,
            "failed": observed.failed,
            "cpu": observed.cpu,
            "delay": observed.delay,
        }
    )
    return observed, pings


class Hogs:
    """A busy loop on each core."""

    def __enter__(self):
        self.hogs = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count())]
        for hog in self.hogs:
            hog.start()
        time.sleep(1)

    def __exit__(self, *_):
        for hog in self.hogs:
            hog.terminate()
            hog.join()


def spin():
    while True:
        pass


@dataclass
class Observed:
    """What was observed of an agent over a window."""

    seconds: float
    cpu: float  # of one core
    rss: float
    late: float
    failed: float
    delay: float  # mean scheduler delay in seconds; None if it is not reported


def observe(agent, seconds):
    before = agent.metrics()
    cpu, began = agent.process.cpu(), time.monotonic()
    time.sleep(seconds)
    cpu, took = agent.process.cpu() - cpu, time.monotonic() - began
    rss = agent.process.rss()
    after = agent.metrics()

    def grown(name):
        return agent.total(name, after) - agent.total(name, before)

    ticks = grown("cachepulse_scheduler_delay_seconds_count")
    delay = grown("cachepulse_scheduler_delay_seconds_sum") / ticks if ticks else None
    return Observed(took, cpu / took, rss, grown("cachepulse_late_ticks_total"), grown("cachepulse_probe_failures_total"), delay)


def curve(lab, results, scale):
    """From one target to thousands, every 10 s."""
    sizes = [1, 10, 100, 1000, 5000, 10_000] if scale.full else [1, 10, 100, 200]
    for targets in sizes:
        say(f"  {targets} targets")
        with lab.agent("curve", "10s", targets, user="many") as agent:
            agent.wait(2)
            observed = observe(agent, max(scale.window(20), 10))
            pings = list(agent.recent_pings().values())
        results.curve.append(
            {
                "targets": targets,
                "cpu": observed.cpu,
                "rss": observed.rss,
                "late": observed.late,
                "at_first": (agent.late_at_first, agent.failed_at_first),
                "ping": statistics.median(pings),
            }
        )
    first, middle, last = results.curve[0], results.curve[-3], results.curve[-1]

    def slope(key, point):
        return (point[key] - first[key]) / (point["targets"] - first["targets"])

    results.rows.append(
        Row(
            "curve",
            f"{last['targets']} targets every 10 s",
            "no late tick, linear growth, ≤ 18 KiB for each further target",
            f"cost per target with {last['targets']} targets, relative to {middle['targets']} targets",
            [
                Check("late ticks", last["late"], 0, "{:.0f}"),
                Check("CPU", slope("cpu", last) / slope("cpu", middle), 1.1, "{:.2f}"),
                Check("memory", slope("rss", last) / slope("rss", middle), 1.1, "{:.2f}"),
                Check("memory per target", slope("rss", middle) / 1024, 18, "{:.1f} KiB"),
            ],
        )
    )
