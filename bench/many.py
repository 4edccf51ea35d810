"""Many targets in one process: alone, scraped, on a busy machine, and ever more of them."""

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass

from figures import MIB, MILLISECOND, Check, Row, mib, quantile, say


def many(lab, results, scale):
    """Many targets every second in one process: alone, scraped, and with a machine that is busy otherwise."""
    targets = 1000 if scale.full else 100
    with lab.agent("many", "1s", targets, user="many") as agent:
        agent.wait(3)
        alone, pings = situation("alone", agent, scale.window(40), lab, results)
        results.rows.append(
            Row(
                "many",
                f"{targets} targets every second in one process, own connection and TLS each",
                "no late tick, under a quarter of one core, ≤ 40 MiB, PING median within 1.5 of the single target's",
                f"{alone.seconds:.0f} s after three probes of each, without scrapes, at "
                f"{alone.cpu / targets / MILLISECOND:.3f} ms of CPU for each probe; until "
                f"then {agent.late_at_first:.0f} late ticks and {agent.failed_at_first:.0f} failed probes",
                [
                    Check("late ticks", alone.late, 0, "{:.0f}"),
                    Check("failed probes", alone.failed, 0, "{:.0f}"),
                    Check("core", alone.cpu * 100, 25, "{:.1f} %"),
                    Check("memory", alone.rss / MIB, 40, "{:.1f} MiB"),
                    Check("PING", statistics.median(pings) / results.single_ping, 1.5, "{:.2f}"),
                ],
            )
        )

        window = scale.window(20)
        plain = lab.bare_scrape(agent.port, "identity", 950, 5)
        plain_times = plain.finish()
        # Not a whole second: scrapes must not always meet the same probes.
        zipped = lab.bare_scrape(agent.port, "gzip", 950, int(window) + 1)
        scraped, scraped_pings = situation("scraped every second", agent, window, lab, results)
        times = zipped.finish()
        moved = statistics.median(scraped_pings) / statistics.median(pings)
        results.rows.append(
            Row(
                "scrapes",
                f"scrape of /metrics, {targets} targets, while they are probed every second",
                "under 50 ms, no late tick, PING median does not move (≤ 1.1)",
                f"{len(times)} scrapes with gzip ({zipped.told[-1] / MIB:.2f} MiB), fastest "
                f"{min(times) / MILLISECOND:.0f} ms, slowest {max(times) / MILLISECOND:.0f} ms; without gzip ({plain.told[-1] / MIB:.1f} MiB) median "
                f"{statistics.median(plain_times) / MILLISECOND:.0f} ms; memory at the most "
                f"{mib(agent.process.peak_rss())}",
                [
                    Check("median", statistics.median(times) / MILLISECOND, 50, "{:.1f} ms"),
                    Check("late ticks", scraped.late, 0, "{:.0f}"),
                    Check("PING", moved, 1.1, "{:.2f}"),
                ],
            )
        )

        with Hogs():
            zipped = lab.bare_scrape(agent.port, "gzip", 950, int(window) + 1)
            situation("scraped, with a hog on each core", agent, window, lab, results)
            zipped.finish()
    delay = [row["delay"] for row in results.load]
    results.rows.append(
        Row(
            "delay",
            f"latency under load ({targets} targets, scrapes, CPU hogs) is marked, not silently wrong",
            "`cachepulse_scheduler_delay_seconds` is there, and grows with the load",
            "its mean in each situation; see the table of load",
            [
                Check("situations without it", sum(value is None for value in delay), 0, "{:.0f}"),
                Check("mean alone over mean with hogs", ratio(delay[0], delay[-1]), 1, "{:.2f}"),
            ],
        )
    )


def ratio(value, other):
    return value / other if value is not None and other else float("inf")


def situation(name, agent, seconds, lab, results):
    """How probes fare for a while, beside a bare loop in the same situation."""
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
    """A loop on each core."""

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
    """An agent over a window."""

    seconds: float
    cpu: float  # of one core
    rss: float
    late: float
    failed: float
    delay: float  # mean of the scheduler's, in seconds; None where it is not told


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
    """From one target to thousands, every 5 s."""
    sizes = [1, 10, 100, 1000, 2500, 5000] if scale.full else [1, 10, 100, 200]
    for targets in sizes:
        say(f"  {targets} targets")
        with lab.agent("curve", "5s", targets, user="many") as agent:
            agent.wait(2)
            observed = observe(agent, max(scale.window(20), 5))
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
            f"{last['targets']} targets every 5 s",
            "no late tick, linear growth",
            f"each target's share at {last['targets']} over that at {middle['targets']}; see the curve",
            [
                Check("late ticks", last["late"], 0, "{:.0f}"),
                Check("CPU", slope("cpu", last) / slope("cpu", middle), 1.25, "{:.2f}"),
                Check("memory", slope("rss", last) / slope("rss", middle), 1.25, "{:.2f}"),
            ],
        )
    )
