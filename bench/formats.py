"""Scrapes in each format, of one target and of many."""

import statistics
from dataclasses import dataclass

from figures import MIB, MILLISECOND, Check, Row

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
# What Prometheus asks for, with the agent's default and with an agent for native histograms only.
FORMATS = {
    "both": {
        "text": "text/plain; version=0.0.4",
        "OpenMetrics": "application/openmetrics-text; version=1.0.0",
        "protobuf": PROTOBUF,
    },
    "native": {"protobuf": PROTOBUF},
}


@dataclass
class Way:
    """Scrapes with or without compression."""

    bytes: int
    seconds: float  # median

    @property
    def texts(self):
        size = f"{self.bytes / MIB:.2f} MiB" if self.bytes >= MIB else f"{self.bytes / 1024:.1f} KiB"
        return size, f"{self.seconds / MILLISECOND:.2f} ms"


@dataclass
class Scrape:
    """A scrape in one format."""

    targets: int
    format: str
    plain: Way
    gzip: Way


def one(lab, results, scale):
    """A scrape of one target in each format."""
    scrapes = measure(lab, results, 1, pause_ms=10, count=scale.count(200))
    results.rows.append(
        Row(
            "scrape",
            "scrape of /metrics, one target",
            "≤ 0.6 ms in each format",
            "median of scrapes with gzip on a kept connection; see Scrapes in each format",
            [Check(scrape.format, scrape.gzip.seconds / MILLISECOND, 0.6, "{:.2f} ms") for scrape in scrapes],
        )
    )


def thousand(lab, results, scale):
    """A scrape of a thousand targets in each format."""
    targets = 1000 if scale.full else 100
    text, _, _, native = measure(lab, results, targets, pause_ms=200, count=scale.count(20))
    results.rows.append(
        Row(
            "formats",
            f"scrape of /metrics, {targets} targets every 10 s",
            "text ≤ 25 ms; protobuf with native histograms ≤ 25 ms, and ≤ 3 MB before compression",
            "median of scrapes with gzip on a kept connection; see Scrapes in each format",
            [
                Check("text", text.gzip.seconds / MILLISECOND, 25, "{:.1f} ms"),
                Check("protobuf", native.gzip.seconds / MILLISECOND, 25, "{:.1f} ms"),
                Check("size of protobuf", native.plain.bytes / 1e6, 3, "{:.2f} MB"),
            ],
        )
    )


def measure(lab, results, targets, pause_ms, count):
    scrapes = []
    for histograms, formats in FORMATS.items():
        name = f"scrape-{targets}-{histograms}"
        with lab.agent(name, "10s", targets, user="many", metrics={"histograms": histograms}) as agent:
            agent.wait(1)
            for format, accept in formats.items():
                ways = [way(lab, agent, encoding, pause_ms, count, accept) for encoding in ("identity", "gzip")]
                scrapes.append(Scrape(targets, f"{format} ({histograms})", *ways))
    results.scrapes += scrapes
    return scrapes


def way(lab, agent, encoding, pause_ms, count, accept):
    bare = lab.bare_scrape(agent.port, encoding, pause_ms, count, accept)
    seconds = statistics.median(bare.finish())
    return Way(bare.told[-1], seconds)
