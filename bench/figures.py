"""Figures, their conditions, and the rows of the table.

Each function in `resident.py`, `single.py`, `formats.py`, `shards.py` and `many.py` fills one group of rows. `Results` passes on the
results that other functions need.
"""

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
    show: str  # format of the numbers

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
    """A row of the table."""

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
    """The results so far."""

    rows: list = field(default_factory=list)
    # Figures of peers as text, by peer and figure.
    peers: dict = field(default_factory=dict)
    curve: list = field(default_factory=list)
    load: list = field(default_factory=list)
    # Scrapes by number of targets and format.
    scrapes: list = field(default_factory=list)
    single_ping: float = 0.0

    def peer(self, name, what, text):
        self.peers.setdefault(name, {})[what] = text


@dataclass
class Scale:
    """The length of the windows. A full run takes 300 s; shorter runs are for work on the harness."""

    seconds: int

    @property
    def full(self):
        return self.seconds >= 300

    def window(self, seconds):
        """Returns a window that takes `seconds` in a full run."""
        return max(seconds * min(self.seconds, 300) / 300, 2)

    def count(self, count):
        """Returns a number of repetitions that is `count` in a full run."""
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


class optional:
    """A block about one peer. A failure in it is reported, and the run continues."""

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
