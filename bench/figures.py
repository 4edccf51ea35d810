"""The figures: how each is measured, and what is to be reached.

A function measures one group of rows. What it needs of others' results is handed on in `Results`.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field

MIB = 1024 * 1024
MILLISECOND = 1e-3
MICROSECOND = 1e-6


@dataclass
class Check:
    """One condition: `value` must not exceed `limit`."""

    what: str
    value: float
    limit: float
    show: str  # how numbers are written, as a format

    @property
    def met(self):
        return self.value <= self.limit

    @property
    def measured(self):
        return f"{self.what} {self.show.format(self.value)}".strip()

    @property
    def verdict(self):
        if self.met:
            return "met"
        if self.limit == 0:
            return f"missed: {self.show.format(self.value)} instead of none"
        return f"missed: {self.value / self.limit:.2f} × the limit of {self.show.format(self.limit)}"


@dataclass
class Row:
    """A line of the table."""

    key: str
    figure: str
    target: str
    how: str
    checks: list = field(default_factory=list)
    problem: str = ""

    @property
    def met(self):
        return bool(self.checks) and all(check.met for check in self.checks)


@dataclass
class Results:
    """What is known so far."""

    rows: list = field(default_factory=list)
    # Peers' figures by peer, then by what it is, as text.
    peers: dict = field(default_factory=dict)
    curve: list = field(default_factory=list)
    load: list = field(default_factory=list)
    single_ping: float = 0.0

    def peer(self, name, what, text):
        self.peers.setdefault(name, {})[what] = text


@dataclass
class Scale:
    """How long the windows are. In full 300 s, as the table asks for; shorter ones are for work on the harness."""

    seconds: int

    @property
    def full(self):
        return self.seconds >= 300

    def window(self, seconds):
        """A window that is so long in a full run."""
        return max(seconds * min(self.seconds, 300) / 300, 2)

    def count(self, count):
        """A number of repetitions, likewise."""
        return max(int(count * min(self.seconds, 300) / 300), 5)


def mib(value):
    return f"{value / MIB:.1f} MiB"


def micros(value):
    return f"{value / MICROSECOND:.1f} µs"


def quantile(values, fraction):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * fraction), len(ordered) - 1)]


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


class Residents:
    """The agent and its peers at rest, one probe every 10 s each, for as long as the other rows of one target take."""

    PERIOD = 10

    def __init__(self, lab, results):
        self.lab, self.results = lab, results
        self.agent = lab.agent("resident", "10s")
        self.agent.wait(1)
        self.peers = {}
        self.pokes = []
        for name, start in [
            ("redis_exporter", lab.redis_exporter),
            ("blackbox_exporter", lab.blackbox_exporter),
            ("quickstart in Python", self._quickstart),
        ]:
            try:
                self.peers[name] = start()
            except RuntimeError as error:
                say(f"without {name}: {error}")
        self.began = time.monotonic()
        self.cpu = {name: process.cpu() for name, process in self._processes().items()}
        self.ended = threading.Event()
        self.poker = threading.Thread(target=self._poke, daemon=True)
        self.poker.start()

    def _quickstart(self):
        process = self.lab.quickstart(self.PERIOD, 10**6)
        time.sleep(3)
        process.check()
        return process

    def _processes(self):
        processes = {"cachepulse": self.agent.process}
        for name, peer in self.peers.items():
            processes[name] = getattr(peer, "process", peer)
        return processes

    def _poke(self):
        """Exporters probe only when they are scraped; the agent is scraped as often."""
        while not self.ended.wait(self.PERIOD):
            self.agent.metrics()
            for peer in self.peers.values():
                if hasattr(peer, "probe"):
                    peer.probe()

    def finish(self, seconds):
        """Waits until they are `seconds` old, and tells their figures."""
        left = seconds - (time.monotonic() - self.began)
        say(f"waiting {max(left, 0):.0f} s for the age of the residents")
        time.sleep(max(left, 0))
        age = time.monotonic() - self.began
        rss, cpu = {}, {}
        for name, process in self._processes().items():
            rss[name] = process.rss()
            cpu[name] = (process.cpu() - self.cpu[name]) / age
            self.results.peer(name, "resident memory", mib(rss[name]))
            self.results.peer(name, "CPU at rest", f"{cpu[name] * 100:.3f} %")
        self.stop()
        checks = [Check("", rss["cachepulse"] / MIB, 6.5, "{:.1f} MiB")]
        exporters = [rss[name] for name in rss if name.endswith("exporter")]
        if exporters:
            checks.append(Check("to the lightest exporter", rss["cachepulse"] / min(exporters), 0.5, "{:.2f}"))
        self.results.rows.append(
            Row(
                "memory",
                f"resident memory, one TLS target with managed identity, after {age:.0f} s",
                "≤ 6.5 MiB, under half of the lightest exporter",
                "`VmRSS`; each is scraped every 10 s",
                checks,
            )
        )
        self.results.rows.append(
            Row(
                "idle",
                "idle CPU at one target every 10 s",
                "under 0.02 % of a core",
                f"CPU time of all threads over {age:.0f} s, a scrape every 10 s included",
                [Check("", cpu["cachepulse"] * 100, 0.02, "{:.4f} %")],
            )
        )

    def stop(self):
        self.ended.set()
        self.poker.join(10)
        for process in self._processes().values():
            process.stop()


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
    checks = [Check("", per_probe / MILLISECOND, 0.12, "{:.3f} ms")]

    bare = lab.bare_probe(100, probes)
    bare.finish()
    results.peer("bare loop", "CPU per probe", f"{(bare.told[-1] - bare.told[0]) / (probes - 1) / 1e6:.3f} ms")

    with optional(results, "quickstart in Python"):
        quickstart = lab.quickstart(0.1, probes, stdout=subprocess.PIPE)
        with quickstart:
            told = json.loads(quickstart.child.communicate()[0] or "null")
        if told is None:
            quickstart.check()
        results.peer("quickstart in Python", "CPU per probe", f"{told['cpu'] / MILLISECOND:.3f} ms")
        results.peer("quickstart in Python", "PING median", micros(statistics.median(told["pings"])))
        checks.append(Check("to the Python loop's", per_probe / told["cpu"], 0.5, "{:.2f}"))
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
                checks.append(Check(f"to {name}'s", per_probe / cpu, limit, "{:.3f}"))
    results.rows.append(
        Row(
            "cpu",
            "CPU per probe (PING, SET, GET, CLIENT LIST on a warm connection)",
            "≤ 0.12 ms, under half of the Python loop, under a tenth of blackbox_exporter",
            f"user and system time of {probes} probes, ten a second; exporters: of a scrape that probes",
            checks,
        )
    )


class optional:
    """A peer's part: where it fails, it is told and the rest goes on."""

    def __init__(self, results, name):
        self.results, self.name = results, name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None or not issubclass(kind, Exception):
            return False
        say(f"{self.name} is left out: {error}")
        self.results.peer(self.name, "problem", str(error).splitlines()[0][:120] if str(error) else kind.__name__)
        return True


def latency(lab, results, scale):
    """PING as the agent reports it, beside a bare loop's at the same time and pace."""
    window = scale.window(60)
    with lab.agent("latency", "100ms", user="single") as agent:
        agent.wait(20)
        # Not 100 ms: the two would meet at the server always or never.
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
            "PING latency as the agent reports it, over the bare loop's",
            "median ≤ 1.15, p99 ≤ 1.5",
            f"{len(pings)} and {len(bare)} round trips in the same {window:.0f} s, ten a second each; medians "
            f"{micros(medians[0])} and {micros(medians[1])}, p99 {micros(tails[0])} and {micros(tails[1])}",
            [
                Check("median", medians[0] / medians[1], 1.15, "{:.2f}"),
                Check("p99", tails[0] / tails[1], 1.5, "{:.2f}"),
            ],
        )
    )


def watch_pings(agent, seconds):
    """Every PING of an agent whose targets probe ten times a second: its status keeps the last ten."""
    pings = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pings.update(agent.recent_pings())
        time.sleep(0.5)
    return list(pings.values())


def redis_cli(lab):
    """The mean over one window of redis-cli: it knows milliseconds with two digits, and no median."""
    args = ["redis-cli", "--tls", "--cacert", lab.ca_file, "-h", "localhost", "-p", lab.port]
    args += ["--user", "single", "--latency", "--raw"]
    environment = {**os.environ, "REDISCLI_AUTH": lab.password}
    done = subprocess.run([str(arg) for arg in args], env=environment, capture_output=True, text=True, timeout=30)
    words = done.stdout.split()
    if len(words) < 4:
        raise RuntimeError(f"redis-cli says {done.stdout!r} {done.stderr!r}")
    return f"mean {float(words[2]) * 1000:.0f} µs of {words[3]}, in steps of 10"


def start(lab, results, scale):
    """From the start of the process to the first verdict on /metrics."""
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
            "from start to the first verdict on /metrics",
            "≤ 50 ms",
            f"{len(took)} starts with a managed identity, /metrics asked every millisecond; the slowest "
            f"{max(took) / MILLISECOND:.0f} ms",
            [Check("median", statistics.median(took) / MILLISECOND, 50, "{:.0f} ms")],
        )
    )


def loss(lab, results, scale):
    """From the server's closing of a live connection to its count in the metrics."""
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
            "loss of a live connection, until it is in the metrics",
            "≤ 100 ms",
            f"{len(took)} times CLIENT KILL between ticks, /metrics asked every millisecond; the median "
            f"{statistics.median(took) / MILLISECOND:.1f} ms",
            [Check("slowest", max(took) / MILLISECOND, 100, "{:.1f} ms")],
        )
    )


def scrape_one(lab, results, scale):
    """A scrape of one target."""
    with lab.agent("scrape", "1s") as agent:
        agent.wait(2)
        plain = lab.bare_scrape(agent.port, "identity", 10, scale.count(500))
        plain_times = plain.finish()
        zipped = lab.bare_scrape(agent.port, "gzip", 10, scale.count(500))
        times = zipped.finish()
    results.rows.append(
        Row(
            "scrape",
            "scrape of /metrics, one target",
            "under 1 ms",
            f"{len(times)} scrapes with gzip ({zipped.told[-1]} bytes) on a kept connection, p99 "
            f"{quantile(times, 0.99) / MILLISECOND:.2f} ms; without gzip ({plain.told[-1]} bytes) median "
            f"{statistics.median(plain_times) / MILLISECOND:.2f} ms",
            [Check("median", statistics.median(times) / MILLISECOND, 1, "{:.2f} ms")],
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
            "≤ 5 MiB",
            "the static binary, as in the image",
            [Check("", stripped / MIB, 5, "{:.2f} MiB")],
        )
    )


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
