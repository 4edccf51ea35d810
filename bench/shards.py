"""A cluster as one target, compared with its nodes as single targets."""

import many
from figures import Check, Row, mib

SHARDS = 6


def shards(lab, results, scale):
    """What a target with six shards costs, next to six single targets and one, on the same servers."""
    with lab.cluster(SHARDS) as ports:
        nodes = [{"port": port, "cluster": {"mode": "off"}} for port in ports]
        one = measure(lab, scale, "one", nodes[:1])
        six = measure(lab, scale, "six", nodes)
        whole = measure(lab, scale, "cluster", [{"port": ports[0]}])
    growth = (six.rss - one.rss) / (SHARDS - 1)
    results.rows.append(
        Row(
            "shards",
            f"a cluster of {SHARDS} shards as one target, every second",
            f"below {SHARDS} single targets in memory and CPU, at most 5 times the CPU and the growth in memory of one",
            f"{whole.seconds:.0f} s after ten probes; one target "
            + ", ".join(
                f"{words} {mib(observed.rss)} and {observed.cpu * 100:.2f} % of a core"
                for words, observed in [
                    ("with all shards", whole),
                    ("on one of the nodes", one),
                ]
            )
            + f", {SHARDS} single targets on the same nodes {mib(six.rss)} and {six.cpu * 100:.2f} %",
            [
                Check("memory", whole.rss / six.rss, 1, "{:.2f}"),
                Check("CPU", whole.cpu / six.cpu, 1, "{:.2f}"),
                Check("CPU relative to one", whole.cpu / one.cpu, 5, "{:.2f}"),
                Check("growth relative to one", 1 + (whole.rss - one.rss) / growth, 5, "{:.2f}"),
                Check("failed probes", whole.failed + six.failed + one.failed, 0, "{:.0f}"),
            ],
        )
    )


def measure(lab, scale, name, targets):
    """Observes an agent with `targets`, or with one target that is the cluster."""
    with lab.agent_of(f"shards-{name}", "1s", targets) as agent:
        agent.wait(10)
        watched = agent.total("cachepulse_cluster_nodes_watched")
        if name == "cluster" and watched != SHARDS:
            raise RuntimeError(f"{watched:.0f} of {SHARDS} shards are watched")
        return many.observe(agent, scale.window(30))
