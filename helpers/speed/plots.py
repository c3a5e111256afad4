"""Pictures of what `make bench` measured: ladders of cures, recall against time, and growth with the data."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from helpers.plots import BLUE, GREEN, INK, ORANGE, PALETTE, RED, panels_in_pairs, put_title


def plot_ladders(panels: Mapping[str, Mapping[str, float]], unit: str, title: str) -> Figure:
    """A panel a benchmark and a bar a rung, as a multiple of the first rung; `unit` is that of the figures given."""
    figure, axes = panels_in_pairs(len(panels), 6.4, 0.42 * max(map(len, panels.values())) + 1)
    for cell, (name, ladder) in zip(axes, panels.items(), strict=True):
        first = next(iter(ladder.values()))
        times = [value / first for value in ladder.values()]
        bars = cell.barh(list(ladder), times, color=[INK, *[BLUE] * (len(ladder) - 1)], height=0.62)
        texts = [
            f"{ratio:.1f}x  ({value:,.{0 if value >= 100 else 1}f} {unit})"
            for ratio, value in zip(times, ladder.values(), strict=True)
        ]
        cell.bar_label(bars, texts, padding=4, fontsize=9)
        cell.set(title=name, xlim=(0, 1.6 * max(times)))
        cell.invert_yaxis()
        cell.grid(axis="y", visible=False)
    put_title(figure, title)
    return figure


def plot_recall_and_time(indexes: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Recall against milliseconds a query, a line an index, a mark an effort; left: one at a time, right: in one call.

    `indexes` are those of `search.index_curves`.
    """
    names = {"flat": "flat (exact)", "ivf_flat": "IVF-Flat", "ivf_pq": "IVF-PQ", "hnsw": "HNSW"}
    names |= {"ivf_refined": "IVF-PQ, ranked again"}
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True, layout="constrained")
    panels = {"single_ms": "one query at a time", "batch_ms": "all queries in one call"}
    for cell, (key, name) in zip(axes, panels.items(), strict=True):
        marks = zip(indexes.items(), (INK, BLUE, ORANGE, GREEN, RED), "Xos^D", strict=False)
        for (kind, figures), colour, marker in marks:
            points = figures["points"]
            times, recalls = [point[key] for point in points], [point["recall"] for point in points]
            label = f"{names[kind]}: built in {figures['build_seconds']:,.0f} s, {figures['megabytes']:,.0f} MB"
            cell.plot(times, recalls, color=colour, marker=marker, markersize=6, linewidth=1.6, label=label)
        cell.axhline(0.95, color=INK, linestyle=":", linewidth=1)
        cell.set(xscale="log", xlabel="milliseconds a query, one thread", title=name)
        cell.xaxis.set_major_formatter("{x:g}")
        cell.xaxis.set_minor_formatter(LogFormatter())  # of itself it writes formulas
    axes[0].set_ylabel("recall@10")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    put_title(figure, title)
    return figure


def plot_growth(steps: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Time and memory of each step against the size of its data, both as multiples of the smallest; logarithmic.

    `steps` -> sizes, costs (a list of seconds and megabytes) and slope.
    """
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.2), layout="constrained")
    panels = {"seconds": "times as long", "megabytes": "megabytes at most, above those before"}
    for cell, (key, label) in zip(axes, panels.items(), strict=True):
        most = 1.0
        for number, (name, step) in enumerate(steps.items()):
            values = np.array([spent[key] for spent in step["costs"]])
            sizes = np.array(step["sizes"]) / step["sizes"][0]
            most = max(most, sizes[-1])
            shown = values / values[0] if key == "seconds" else np.maximum(values, 0.1)
            text = f"{name}: slope {step['slope']:.2f}"
            cell.plot(sizes, shown, color=PALETTE[number % len(PALETTE)], marker="osD^vXP*"[number % 8], label=text)
        if key == "seconds":
            cell.plot([1, most], [1, most], color=INK, linestyle=":", linewidth=1.4, label="in proportion: slope 1")
        cell.set(xscale="log", yscale="log", xlabel="times the data", ylabel=label)
        for axis in (cell.xaxis, cell.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        cell.set_xticks(sizes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    put_title(figure, title)
    return figure
