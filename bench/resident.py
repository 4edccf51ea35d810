"""The agent and its peers at rest: memory and CPU with one probe every 10 s."""

import threading
import time

from figures import MIB, Check, Row, mib, say


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
        self.wakeups, self.replies = self.agent.process.wakeups(), self._replies()
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

    def _replies(self):
        """Returns how many replies the agent has awaited in its probes."""
        return self.agent.total("cachepulse_step_results_total")

    def _poke(self):
        """Scrapes exporters, which probe only when scraped, and the agent at the same rate."""
        while not self.ended.wait(self.PERIOD):
            self.agent.metrics()
            for peer in self.peers.values():
                if hasattr(peer, "probe"):
                    peer.probe()

    def finish(self, seconds):
        """Waits until the processes have run for `seconds`, and records their figures."""
        left = seconds - (time.monotonic() - self.began)
        say(f"waiting {max(left, 0):.0f} s until the processes at rest have run long enough")
        time.sleep(max(left, 0))
        age = time.monotonic() - self.began
        rss, cpu = {}, {}
        for name, process in self._processes().items():
            rss[name] = process.rss()
            cpu[name] = (process.cpu() - self.cpu[name]) / age
            self.results.peer(name, "resident memory", mib(rss[name]))
            self.results.peer(name, "CPU at rest", f"{cpu[name] * 100:.3f} %")
        wakeups, replies = self.agent.process.wakeups() - self.wakeups, self._replies() - self.replies
        self.stop()
        checks = [Check("", rss["cachepulse"] / MIB, 4.5, "{:.1f} MiB")]
        exporters = [rss[name] for name in rss if name.endswith("exporter")]
        if exporters:
            checks.append(Check("relative to the lightest exporter", rss["cachepulse"] / min(exporters), 0.5, "{:.2f}"))
        self.results.rows.append(
            Row(
                "memory",
                f"resident memory, one TLS target with managed identity, after {age:.0f} s",
                "≤ 4.5 MiB, below half of the lightest exporter",
                "`VmRSS`; each process is scraped every 10 s",
                checks,
            )
        )
        self.results.rows.append(
            Row(
                "idle",
                "CPU at rest, one target every 10 s",
                "≤ 0.012 % of a core, ≤ 3 wake-ups per interval beside those for replies",
                f"CPU time and voluntary context switches of all threads over {age:.0f} s, including a scrape every "
                f"10 s; {replies:.0f} replies were awaited in probes",
                [
                    Check("", cpu["cachepulse"] * 100, 0.012, "{:.4f} %"),
                    Check("wake-ups", (wakeups - replies) / (age / self.PERIOD), 3, "{:.1f}"),
                ],
            )
        )

    def stop(self):
        self.ended.set()
        self.poker.join(10)
        for process in self._processes().values():
            process.stop()
