"""Pictures of captioners beside each other: a panel a score."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.plots import INK, PALETTE, put_title


def plot_scores(table: Mapping[str, Mapping[str, float]], line: Mapping[str, float], title: str) -> Figure:
    """A panel a score and a bar a model, from model -> score -> value; a dashed line at `line`, the score to beat."""
    names = list(next(iter(table.values())))
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.2 * len(names), 0.5 * len(table) + 1.8), sharey=True, layout="constrained"
    )
    for cell, name in zip(np.atleast_1d(axes), names, strict=True):
        bars = cell.barh(list(table), [row[name] for row in table.values()], color=PALETTE[: len(table)])
        cell.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
        cell.axvline(line[name], color=INK, linestyle="--", linewidth=1.2, label="blind")
        cell.set(title=name)
        cell.margins(x=0.2)
        cell.grid(axis="y", visible=False)
    cell.invert_yaxis()
    figure.legend(*cell.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=9)
    put_title(figure, title)
    return figure
