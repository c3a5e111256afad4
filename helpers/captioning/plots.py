"""Pictures of captioners: how they learned, what they say, and their scores beside each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.captioning.training import CaptionData, History, best_epoch
from helpers.data.plots import photo_grid
from helpers.plots import INK, PALETTE, plot_history, put_title


def plot_training(history: History) -> Figure:
    """What `train_captioner` tells of its epochs; the title names the one that was kept."""
    panels = {"cross-entropy a word": ["train_loss", "val_loss"], "CIDEr-D, validation, greedy": ["cider_d"]}
    if any("train_reward" in epoch for epoch in history):
        panels["CIDEr-D of drawn captions, training, of 10"] = ["train_reward"]
    best = best_epoch(history)
    kept = history[best - 1]
    if kept["stage"] == "halfway":
        before, after = kept["cider_d_as_used_before"], kept["cider_d_as_used"]
        gain = f"CIDEr-D {before:.0f} → {after:.0f} on validation ({kept['decoding']})"
        title = f"Halfway between both stages it writes best: {gain}"
    else:
        title = f"Epoch {best} ({kept['stage']}) writes the best captions: CIDEr-D {kept['cider_d']:.0f} on validation"
    return plot_history(history, panels, title, best_epoch=best)


def plot_good_and_bad(
    texts: Mapping[str, str], data: CaptionData, paths: Mapping[str, Path], good: Sequence[str], bad: Sequence[str]
) -> Figure:
    """Photos with their captions and what a person wrote: the `good` ones, then the `bad`; see `best_and_worst`."""
    said = dict(zip(data.ids, data.captions, strict=True))
    return photo_grid(
        [paths[i] for i in (*good, *bad)],
        [f"{texts[i]}\n– {said[i][0]}" for i in (*good, *bad)],
        f"Good and bad captions, {len(good)} of either; after the dash, what a person wrote",
        right=[True] * len(good) + [False] * len(bad),
    )


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
