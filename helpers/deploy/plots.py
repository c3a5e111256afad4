"""Pictures of the precisions: what each graph takes in time and on disk, and what it costs in accuracy."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from helpers.plots import BLUE, INK, ORANGE, RED, SKY, panels_in_pairs, put_title

_VARIANT_MARKS = {
    "pytorch": (INK, "X"), "fp32": (BLUE, "o"), "bf16": (SKY, "v"), "fp16": (ORANGE, "s"), "int8": (RED, "D"),
}  # fmt: skip


def _hollow(colour: str) -> dict[str, Any]:
    """Marks of equal values stay visible through each other."""
    return {"facecolors": "none", "edgecolors": colour, "linewidths": 2}


def plot_measurements(table: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> Figure:
    """`measure`'s figures for many graphs: a row a graph, a mark a variant; scales are logarithmic."""
    panels = {
        "latency_ms": "milliseconds for one request",
        "rows_per_second": "inputs a second, in batches",
        "megabytes": "megabytes on disk",
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 0.5 * len(table) + 2), sharey=True, layout="constrained")
    for cell, (key, label) in zip(axes, panels.items(), strict=True):
        for row, variants in enumerate(table.values()):
            values = [figures[key] for figures in variants.values() if key in figures]
            cell.plot([min(values), max(values)], [row, row], color="#d8d4ca", linewidth=2, zorder=1)
            for variant, figures in variants.items():
                if key in figures:
                    colour, marker = _VARIANT_MARKS[variant]
                    cell.scatter(figures[key], row, marker=marker, s=60, zorder=2, **_hollow(colour))
        largest = max(figures.get(key, 0) for variants in table.values() for figures in variants.values())
        cell.set(xscale="log", xlabel=label, yticks=range(len(table)), yticklabels=list(table))
        cell.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if largest < 100 else (1,)))
        cell.xaxis.set_major_formatter("{x:g}")
        cell.xaxis.set_minor_formatter("")
        cell.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    names = next(iter(table.values()))
    marks = [
        plt.Line2D([], [], color=colour, marker=marker, fillstyle="none", markeredgewidth=2, linestyle="", label=name)
        for name, (colour, marker) in _VARIANT_MARKS.items()
        if name in names
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    put_title(figure, title)
    return figure


def plot_accuracy_and_speed(panels: Mapping[str, Mapping[str, tuple[float, float]]], xlabel: str, title: str) -> Figure:
    """Accuracy against time, a panel a task: variant -> (milliseconds, accuracy). Up and to the left is better.

    The scales begin where the points do, but show four points of accuracy at least: else the last digit looks large.
    """
    figure, axes = panels_in_pairs(len(panels), 6.6, 3.4)
    for cell, (accuracy, points) in zip(axes, panels.items(), strict=True):
        for variant, (time, value) in points.items():
            colour, marker = _VARIANT_MARKS[variant]
            cell.scatter(time, value, marker=marker, s=80, label=f"{variant}: {value:.1f}", zorder=2, **_hollow(colour))
        times, values = zip(*points.values(), strict=True)
        middle, reach = (min(values) + max(values)) / 2, max(2.0, 0.7 * (max(values) - min(values)))
        margin = 0.12 * (max(times) - min(times)) or 0.1 * max(times)
        cell.set(xlim=(min(times) - margin, max(times) + margin), ylim=(middle - reach, middle + reach))
        cell.set(xlabel=xlabel, title=accuracy)
        cell.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    put_title(figure, title)
    return figure
