"""Pictures of a space of vectors: pressed flat onto a map, classes that are confused, zones of the triplet loss."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.data.descriptions import english_name
from helpers.encoders.metrics import confusion
from helpers.plots import GREEN, INK, ORANGE, PALETTE, PURPLE, RED, SKY, plot_heatmap, put_title


def press_flat(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Vectors (N, D) -> places on a map (N, 2), neighbours beside neighbours; far distances mean nothing.

    t-SNE (van der Maaten and Hinton, 2008), started from the two main directions. Three vectors or fewer have no
    neighbourhood to keep; of these the first two numbers are taken.
    """
    if len(vectors) < 4:
        return vectors[:, :2]
    from sklearn.manifold import TSNE  # here, since it takes a moment to load

    return TSNE(perplexity=min(20, len(vectors) // 4), random_state=seed, init="pca").fit_transform(vectors)


def plot_points(
    points: np.ndarray,
    labels: Sequence[str],
    title: str,
    stars: np.ndarray | None = None,
    star_labels: Sequence[str] = (),
) -> Figure:
    """A map of vectors pressed flat: points (N, 2) coloured by label, and stars (M, 2) in the colour of theirs."""
    names = sorted({*labels, *star_labels})
    figure, axes = plt.subplots(figsize=(8.5, 6), layout="constrained")
    for number, name in enumerate(names):
        # Eight colours, then the same colours with another marker.
        colour, marker = PALETTE[number % len(PALETTE)], "osD^"[number // len(PALETTE) % 4]
        chosen = np.array([label == name for label in labels], bool)
        axes.scatter(*points[chosen].T, s=26, color=colour, marker=marker, alpha=0.75, linewidths=0, label=name)
        for place, label in zip(stars if stars is not None else [], star_labels, strict=True):
            if label == name:
                axes.scatter(*place, s=240, color=colour, marker="*", edgecolors=INK, linewidths=1.2, zorder=3)
                axes.annotate(name, place, textcoords="offset points", xytext=(8, 6), fontsize=9, fontweight="bold")
    axes.set(xticks=[], yticks=[])
    axes.legend(frameon=False, fontsize=9, bbox_to_anchor=(1, 1), loc="upper left")
    put_title(figure, title)
    return figure


def plot_confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Figure:
    """Which class photos of each class were taken for; `labels` and `predicted` (N,)."""
    counts = confusion(labels, predicted, list(classes))
    names = [english_name(label) for label in classes]
    title = f"{(predicted == labels).mean():.0%} of the test photos land in their own class"
    shares = counts / counts.sum(axis=1, keepdims=True)
    return plot_heatmap(shares, names, names, title, "share of the row's photos", annotate=True)


def plot_triplet_zones(positive: float, margin: float, negatives: Sequence[float], title: str) -> Figure:
    """Distances from an anchor as a line: its positive, the three zones of negatives, and some `negatives`."""
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    end = 1.1 * max([*negatives, positive + 2 * margin])
    zones = {
        "hard": (0, positive, RED),
        "semi-hard": (positive, positive + margin, ORANGE),
        "easy": (positive + margin, end, SKY),
    }
    for name, (left, right, colour) in zones.items():
        axes.axvspan(left, right, color=colour, alpha=0.25, linewidth=0)
        axes.text((left + right) / 2, 0.72, name, ha="center", fontsize=11, fontweight="bold", color=INK)
    axes.scatter(0, 0, s=120, marker="*", color=INK, label="anchor", zorder=3, clip_on=False)
    axes.scatter(positive, 0, s=80, marker="o", color=GREEN, label="positive", zorder=3)
    axes.scatter(negatives, np.zeros(len(negatives)), s=70, marker="X", color=PURPLE, label="negatives", zorder=3)
    axes.set(xlim=(0, end), ylim=(-0.6, 1), yticks=[], xlabel="squared distance from the anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    put_title(figure, title)
    return figure
