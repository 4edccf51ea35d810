"""Draws the panels of the dashboard with matplotlib from the data of a real Prometheus. It only resembles Grafana."""

import json
import pathlib
import re
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import dashboard

ROOT = pathlib.Path(__file__).resolve().parents[2]
BACKGROUND, CARD, TEXT = "#111217", "#181b1f", "#d0d1d8"
RED, ORANGE, GREEN = "#e02f44", "#ff9830", "#56a64b"
COLOURS = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#96d98d", "#ffb357", "#ca95e5"]
CELL = 0.42


def draw(url, start, end, rate_interval, path):
    board = dashboard.load(ROOT / "deploy/grafana/dashboard.json")
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    plt.rcParams.update({"text.color": TEXT, "axes.labelcolor": TEXT, "xtick.color": TEXT, "ytick.color": TEXT, "font.size": 8})
    figure = plt.figure(figsize=(16, height * CELL), facecolor=BACKGROUND)
    for panel in board["panels"]:
        box = panel["gridPos"]
        frame = [
            box["x"] / 24 + 0.004,
            1 - (box["y"] + box["h"]) / height + 0.05 / height,
            box["w"] / 24 - 0.008,
            (box["h"] - 0.15) / height,
        ]
        if panel["type"] == "row":
            figure.text(frame[0], frame[1] + frame[3] / 2, panel["title"], size=12, weight="bold", va="center")
            continue
        card = plt.Rectangle(frame[:2], frame[2], frame[3], color=CARD, transform=figure.transFigure, zorder=-1)
        figure.add_artist(card)
        # Space for the title, the axis labels and the legend.
        inner = [frame[0] + 0.036, frame[1] + 1.6 / height, frame[2] - 0.044, frame[3] - 2.5 / height]
        figure.text(frame[0] + 0.004, frame[1] + frame[3] - 0.2 / height, panel["title"], size=9, weight="bold", va="top")
        axes = figure.add_axes(inner, facecolor=CARD)
        for spine in axes.spines.values():
            spine.set_color("#2c3235")
        series = list(read(url, panel, start, end, rate_interval, board))
        {"timeseries": lines, "state-timeline": states, "status-history": cells, "heatmap": heat}.get(panel["type"], values)(axes, panel, series)
    figure.savefig(path, dpi=80, facecolor=BACKGROUND)
    # Few colours reduce the file to a quarter, without a visible difference.
    image = Image.open(path).quantize(64)
    image.save(path, optimize=True)
    # The README shows the first rows only.
    bottom = next(panel["gridPos"]["y"] for panel in board["panels"] if panel["title"] == "Failures and connections")
    overview = image.crop((0, 0, image.width, image.height * bottom // height))
    overview.save(pathlib.Path(path).with_stem(f"{pathlib.Path(path).stem}-overview"), optimize=True)


def read(url, panel, start, end, rate_interval, board):
    one = dict(board, panels=[panel])
    for target, (_, text) in zip(panel["targets"], dashboard.queries(one, rate_interval, "3m")):
        parameters = {"query": text, "start": start, "end": end, "step": 1}
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            result = json.load(answer)["data"]["result"]
        for series in result:
            name = target["legendFormat"] or " ".join(series["metric"].get(key, "") for key in ("namespace", "version"))
            for label, value in series["metric"].items():
                name = name.replace("{{%s}}" % label, value.split("@")[0])
            times = np.array([time for time, _ in series["values"]])
            numbers = np.array([float(number) for _, number in series["values"]])
            # A sum over all reasons or results lacks their labels.
            name = re.sub(r" ?{{\w+}}", "", name).strip()
            yield name if len(name) < 34 else f"{name[:33]}…", times, numbers, series["metric"]


def lines(axes, panel, series):
    for index, (name, times, numbers, _) in enumerate(series):
        # A gap where there is no data.
        gaps = np.flatnonzero(np.diff(times) > 1.5) + 1
        moments = np.insert(times, gaps, times[gaps - 1]).astype("datetime64[s]")
        numbers = np.insert(numbers, gaps, np.nan)
        axes.plot(moments, numbers, color=COLOURS[index % len(COLOURS)], linewidth=1.1, label=name)
    axes.grid(color="#2c3235", linewidth=0.5)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel["fieldConfig"]["defaults"]["unit"]))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=max(2, round(panel["gridPos"]["w"] / 3)), fontsize=6, frameon=False, labelcolor=TEXT, columnspacing=1
    )


def states(axes, _, series):
    for index, (_, times, numbers, _) in enumerate(series):
        for time, number in zip(times, numbers):
            start = np.datetime64(int(time), "s")
            axes.barh(index, np.timedelta64(1, "s"), left=start, height=0.8, color=GREEN if number == 1 else RED)
    axes.set_yticks(range(len(series)), [name for name, *_ in series])
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))


def cells(axes, panel, series):
    """One row per series. A panel with thresholds shows states, another one shades of its values."""
    if "thresholds" in panel["fieldConfig"]["defaults"]:
        return states(axes, panel, series)
    times = sorted({int(time) for _, points, _, _ in series for time in points})
    column = {time: index for index, time in enumerate(times)}
    grid = np.full((len(series), len(times)), np.nan)
    for row, (_, points, numbers, _) in enumerate(series):
        for time, number in zip(points, numbers):
            grid[row, column[int(time)]] = number
    axes.imshow(grid, aspect="auto", origin="lower", cmap="RdYlGn_r", interpolation="nearest")
    axes.set_yticks(range(len(series)), [name for name, *_ in series])
    axes.set_xticks([])


def heat(axes, _, series):
    series = sorted(series, key=lambda item: float(item[3]["le"]))
    times = sorted({int(time) for _, points, _, _ in series for time in points})
    column = {time: index for index, time in enumerate(times)}
    grid = np.zeros((len(series), len(times)))
    for row, (_, points, numbers, _) in enumerate(series):
        for time, number in zip(points, numbers):
            grid[row, column[int(time)]] = number
    grid = np.diff(grid, axis=0, prepend=0)
    axes.imshow(grid, aspect="auto", origin="lower", cmap="Blues_r", interpolation="nearest")
    rows = range(0, len(series) - 1, 3)
    axes.set_yticks(rows, [shown(float(series[row][3]["le"]), "s") for row in rows])
    axes.set_xticks([])


def values(axes, panel, series):
    axes.axis("off")
    coloured = panel["options"].get("colorMode") == "background"
    for index, (name, _, numbers, _) in enumerate(series):
        defaults = panel["fieldConfig"]["defaults"]
        finite = numbers[~np.isnan(numbers)]
        value = finite[-1] if len(finite) else np.nan
        text = shown(value, defaults["unit"])
        for mapping in defaults.get("mappings", []):
            text = mapping["options"].get(f"{value:g}", {"text": text})["text"]
        if panel["type"] == "table":
            text = ""
        colour = CARD
        for step in defaults.get("thresholds", {}).get("steps", []) if coloured else []:
            if step["value"] is None or value >= step["value"]:
                colour = {"red": RED, "orange": ORANGE, "green": GREEN}[step["color"]]
        y = 1 - (index + 0.5) / len(series)
        box = {"facecolor": colour, "edgecolor": "none", "pad": 4}
        label = f"{name}  {text}" if panel["gridPos"]["w"] > 4 else f"{name}\n{text}"
        axes.text(0.5, y, label, ha="center", va="center", size=8, transform=axes.transAxes, color="white", bbox=box)


def shown(value, unit):
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit == "s":
        for limit, factor, name in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (120, 1, "s"), (7200, 1 / 60, "min")):
            if abs(value) < limit:
                return f"{value * factor:.3g} {name}"
        return f"{value / 3600:.1f} h" if value < 2 * 86400 else f"{value / 86400:.0f} d"
    return f"{value:.3g}"
