"""Pictures of a space of vectors: pressed flat onto a map, classes that are confused, zones of the triplet loss."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.data.descriptions import english_name
from helpers.encoders.metrics import confusion
from helpers.plots import BLUE, GREEN, INK, ORANGE, PALETTE, PURPLE, RED, SKY, apart, plot_heatmap, put_title


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
    axes.set(xticks=[], yticks=[])
    axes.margins(x=0.12)  # for the names of stars at the edge
    axes.legend(frameon=False, fontsize=9, bbox_to_anchor=(1, 1), loc="upper left")
    put_title(figure, title)
    if stars is not None:
        figure.draw_without_rendering()  # from here on it is known where a place lies on the page
        _name_stars(axes, stars, star_labels)
    return figure


def _name_stars(axes: Axes, stars: np.ndarray, names: Sequence[str]) -> None:
    """A name at each star (M, 2), and a line to it where it had to make room."""
    point = axes.figure.dpi / 72
    at = axes.transData.transform(stars)  # (M, 2) in pixels
    sizes = point * np.array([(5.8 * len(name) + 6, 14) for name in names])
    wanted = at + np.stack([sizes[:, 0] / 2 + 7 * point, np.full(len(at), 8 * point)], axis=1)
    for star, place, name, moved in zip(at, apart(wanted, sizes), names, wanted, strict=True):
        far = np.linalg.norm(place - moved) > 4 * point
        axes.annotate(
            name, axes.transData.inverted().transform(star), axes.transData.inverted().transform(place), fontsize=9,
            fontweight="bold", ha="center", va="center", zorder=4,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8} if far else None,
        )  # fmt: skip


def plot_confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Figure:
    """Which class photos of each class were taken for; `labels` and `predicted` (N,)."""
    counts = confusion(labels, predicted, list(classes))
    names = [english_name(label) for label in classes]
    title = f"{(predicted == labels).mean():.0%} of the test photos land in their own class"
    shares = counts / counts.sum(axis=1, keepdims=True)
    return plot_heatmap(shares, names, names, title, "share of the row's photos", annotate=True)


def plot_leads(
    photo_vectors: np.ndarray, text_vectors: np.ndarray, labels: np.ndarray, text_labels: np.ndarray
) -> Figure:
    """How far the own class leads, photo by photo: what a table of confusions no longer shows when all are right.

    Args:
        photo_vectors, text_vectors: (N, E) and (M, E), of length 1.
        labels, text_labels: the classes (N,) of photos and (M,) of descriptions.

    A dot is a photo: its mean cosine to its own class's descriptions, less that to the closest other class. Left of 0
    it is taken for that one. The classes stand in the order of their smallest lead, each with its closest rival.
    """
    classes = np.unique(text_labels)
    means = np.stack([(photo_vectors @ text_vectors[text_labels == name].T).mean(axis=1) for name in classes], axis=1)
    own = labels[:, None] == classes  # (N, classes)
    others = np.where(own, -np.inf, means)
    leads, rivals = means[own] - others.max(axis=1), others.argmax(axis=1)  # (N,)
    order = sorted(classes, key=lambda name: leads[labels == name].min())
    figure, axes = plt.subplots(figsize=(8.5, 0.36 * len(classes) + 1.4), layout="constrained")
    for row, name in enumerate(order):
        of_class = leads[labels == name]
        colours = [BLUE if lead > 0 else RED for lead in of_class]
        axes.scatter(of_class, np.full(len(of_class), row), s=34, facecolors="none", edgecolors=colours, linewidths=1.4)
        rival = classes[np.bincount(rivals[labels == name]).argmax()]
        axes.text(1.01, row, english_name(rival), va="center", fontsize=10, transform=axes.get_yaxis_transform())
    axes.text(
        1.01, -0.9, "closest rival", va="center", fontsize=10, style="italic", transform=axes.get_yaxis_transform()
    )
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set(yticks=range(len(order)), yticklabels=[english_name(name) for name in order])
    axes.set(xlabel="lead of the own class (cosine)", ylim=(len(order) - 0.5, -1.3))
    axes.grid(axis="y", visible=False)
    won, last = int((leads > 0).sum()), f"{english_name(order[0])}, {leads.min():+.2f}"
    end = f"the narrowest lead has {last}" if won == len(leads) else f"farthest behind is {last}"
    put_title(figure, f"{won} of {len(leads)} test photos are closest to their own class; {end}")
    return figure


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
