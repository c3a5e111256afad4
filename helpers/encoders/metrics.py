"""Retrieval metrics: how well one set of vectors finds its counterparts in another.

With captions, each photo has a few texts of its own, and the question is at which rank the first of them comes
(recall@k and median rank; Hodosh, Young and Hockenmaier, "Framing image description as a ranking task", 2013).
With classes, every photo of the class is a right answer, and the question is how many of the first k are
(precision@k, average precision; Manning, Raghavan and Schütze, "Introduction to Information Retrieval", ch. 8). Of a
class with fewer than k photos all can be found and k cannot, so the first k are measured by as many as there are (as
BEIR caps recall@k; Thakur et al., "BEIR", 2021).
Where answers are more or less right, the question is whether the best of them come first (nDCG; Järvelin and
Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002).

Ties are resolved pessimistically: a wrong answer with the same score as a right one is placed before it. So a
model that gives every pair the same score comes out last, not first. Recalls are percentages from 0 to 100,
precisions and nDCG fractions from 0 to 1, as papers print them. Figures depend on the gallery's size: always state it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from helpers.files import InputError
from helpers.uncertainty import Interval, brackets, mean_interval

RECALL_AT = (1, 5, 10)
PRECISION_AT = (1, 5, 10)
NDCG_AT = 10
TIE = 1e-6  # float32 sums differ by this much with the order of summation, so equal pairs may not score equal
Crowds = tuple[np.ndarray, np.ndarray]
Scores = np.ndarray | tuple[np.ndarray, np.ndarray]  # one table for both ways; or two: photos search, captions search
Hits = dict[str, tuple[np.ndarray, np.ndarray]]  # i2t_r1, ...: 100 or 0 for each query, and the photo it belongs to
Ranks = dict[str, tuple[np.ndarray, np.ndarray]]  # i2t and t2i: of the first of each query's own, and the query's photo
BLOCK_BYTES = 128 * 2**20  # of scores held at once: 30,000 photos x 150,000 captions do not fit whole


def retrieval_metrics(
    images: np.ndarray, texts: np.ndarray, owners: np.ndarray, crowds: Crowds | None = None
) -> dict[str, float]:
    """Recall@1/5/10 and median rank, image->text and text->image.

    Args:
        images: photo vectors (N, D); scores are their dot products with `texts`.
        texts: caption vectors (M, D), any number of captions a photo.
        owners: (M,) the row in `images` that each caption describes. A photo without captions stays in the
            gallery, but is no query.
        crowds: how crowded it is around each photo (N,) and each caption (M,), half of which is taken off the scores.

    Returns:
        i2t_r1, i2t_r5, i2t_r10, t2i_r1, t2i_r5, t2i_r10 (percent), median_rank_i2t, median_rank_t2i (1 is
        best), gallery (number of photos).

    Raises:
        InputError: the vectors are not finite.

    >>> retrieval_metrics(np.eye(2), np.eye(2)[[0, 0, 1]], np.array([0, 0, 1]))["i2t_r1"]
    100.0
    """
    _check_finite(images, texts)
    return _summary(retrieval_ranks(images, texts, owners, crowds), len(images))


def retrieval_ranks(images: np.ndarray, texts: np.ndarray, owners: np.ndarray, crowds: Crowds | None = None) -> Ranks:
    """The ranks behind `retrieval_metrics`: for each photo, of its first caption; for each caption, of its photo."""
    owners, numbers = np.asarray(owners), np.arange(len(images))

    def scores(rows: slice, columns: slice) -> np.ndarray:
        found = images[rows] @ texts[columns].T  # (n, m)
        return found if crowds is None else found - (crowds[0][rows, None] + crowds[1][columns]) / 2

    every = slice(None)
    i2t = [image_ranks(scores(rows, every), numbers[rows], owners) for rows in blocks(len(images), len(texts))]
    t2i = [text_ranks(scores(every, columns), owners[columns]) for columns in blocks(len(texts), len(images))]
    return {"i2t": (np.concatenate(i2t), np.unique(owners)), "t2i": (np.concatenate(t2i), owners)}


def retrieval_hits(images: np.ndarray, texts: np.ndarray, owners: np.ndarray, crowds: Crowds | None = None) -> Hits:
    """`recall_hits` of vectors, whose table of scores need not fit into memory."""
    return _hits(retrieval_ranks(images, texts, owners, crowds))


def retrieval_intervals(
    images: np.ndarray, texts: np.ndarray, owners: np.ndarray, crowds: Crowds | None = None
) -> dict[str, Interval]:
    """How sure the recalls of `retrieval_metrics` are: the bootstrap interval of each, in percent, over the photos."""
    return _intervals(retrieval_hits(images, texts, owners, crowds))


def score_metrics(scores: Scores, owners: np.ndarray, queries: np.ndarray | None = None) -> dict[str, float]:
    """`retrieval_metrics` for any score: `scores` (N, M) of every photo with every caption, higher is closer.

    Two such tables where it matters who asks: the hits of a photo get a second look, those of its captions get another.
    `queries`, rows of photos, leaves the searching to these and to their captions; all others are only found.
    """
    tables = _two_tables(scores)
    _check_finite(*tables)
    return _summary(_table_ranks(tables, owners, queries), len(tables[0]))


def metrics_by_origin(scores: np.ndarray, owners: np.ndarray, origins: Sequence[str]) -> dict[str, dict[str, float]]:
    """`score_metrics` of the photos of each data set, searching among all; empty where there is only one.

    `origins` are those of the first photos of `scores`, which ask; photos after them are only found.
    """
    names = sorted(set(origins))
    rows = {name: np.flatnonzero(np.asarray(origins) == name) for name in names if len(names) > 1}
    return {name: score_metrics(scores, owners, of_set) for name, of_set in rows.items()}


def recall_intervals(scores: Scores, owners: np.ndarray, queries: np.ndarray | None = None) -> dict[str, Interval]:
    """How sure the recalls of `score_metrics` are: the bootstrap interval of each, in percent, over the photos."""
    return _intervals(recall_hits(scores, owners, queries))


def recall_hits(scores: Scores, owners: np.ndarray, queries: np.ndarray | None = None) -> Hits:
    """Of each recall in `score_metrics`: 100 for each query that finds its own, else 0, and the photo it belongs to.

    The differences between two models' hits, query by query, say whether one is better: see `mean_interval`.
    """
    return _hits(_table_ranks(_two_tables(scores), owners, queries))


def recall_table(columns: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Interval] | None = None) -> str:
    """Recalls and median ranks of several searches side by side, and behind them the `intervals` of the last.

    Args:
        columns: title -> figures, as from `retrieval_metrics`.
        intervals: as from `retrieval_intervals`.
    """
    known, widths = intervals or {}, [max(10, len(title) + 2) for title in columns]
    names = [name for way in ("t2i", "i2t") for name in (*(f"{way}_r{k}" for k in RECALL_AT), f"median_rank_{way}")]

    def line(name: str, cells: Iterable[str]) -> str:
        behind = f"  {brackets(known[name])}" if name in known else ""
        return f"{name:>16}" + "".join(f"{cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True)) + behind

    searches = columns.values()
    figures = [[f"{row[name]:.1f}" for row in searches] for name in names]
    return "\n".join(
        [line("", columns), line("gallery", (f"{row['gallery']:,}" for row in searches)), *map(line, names, figures)]
    )


def _two_tables(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    return scores if isinstance(scores, tuple) else (scores, scores)


def _table_ranks(tables: tuple[np.ndarray, np.ndarray], owners: np.ndarray, queries: np.ndarray | None) -> Ranks:
    by_photo, by_text = tables
    owners = np.asarray(owners)
    queries = np.intersect1d(owners, np.arange(len(by_photo)) if queries is None else queries)
    asking = np.isin(owners, queries)  # (M,)
    return {
        "i2t": (image_ranks(by_photo[queries], queries, owners), queries),
        "t2i": (text_ranks(by_text[:, asking], owners[asking]), owners[asking]),
    }


def image_ranks(scores: np.ndarray, rows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """For photos `rows` with `scores` (n, M): the rank of the first caption of their own, photos without left out."""
    own = rows[:, None] == owners[None, :]  # (n, M)
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)  # (n, 1)
    ranks = 1 + ((scores >= best - TIE) & ~own).sum(axis=1)  # (n,)
    return ranks[own.any(axis=1)]


def text_ranks(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """For captions with `scores` (N, m): the rank of the photo each describes."""
    own = scores[owners, np.arange(len(owners))]  # (m,)
    return (scores >= own - TIE).sum(axis=0)  # the photo itself counts as the 1


def chance_metrics(owners: np.ndarray, gallery: int) -> dict[str, float]:
    """What `retrieval_metrics` gives on average when the ranking is random: the floor to compare with."""
    photos = np.bincount(np.bincount(owners))[1:]  # photos with 1, 2, ... captions
    ranks = np.arange(1, len(owners) + 1)
    # The chance that none of a photo's c captions is among the first k of M: (M-k)/M * (M-k-1)/(M-1) * ...
    drawn = np.arange(len(photos))  # (c,)
    miss = np.clip((len(owners) - ranks[:, None] - drawn) / (len(owners) - drawn), 0, 1).cumprod(axis=1)  # (M, c)
    hit = 1 - miss @ photos / photos.sum()  # (M,) by rank
    chance = {f"i2t_r{k}": 100 * float(hit[min(k, len(hit)) - 1]) for k in RECALL_AT}
    chance |= {f"t2i_r{k}": 100 * min(k / gallery, 1.0) for k in RECALL_AT}
    return chance | {
        "median_rank_i2t": float(np.argmax(hit >= 0.5) + 1),
        "median_rank_t2i": (gallery + 1) / 2,
        "gallery": gallery,
    }


def class_metrics(
    images: np.ndarray, labels: np.ndarray, texts: np.ndarray, text_labels: np.ndarray
) -> dict[str, float]:
    """Precision@1/5/10 text->image and image->image, and mean average precision text->image by class.

    Args:
        images: photo vectors (N, D) with `labels` (N,).
        texts: description vectors (M, D) with `text_labels` (M,).

    Returns:
        t2i_p1, t2i_p5, t2i_p10: mean `precision` over descriptions. i2i_p1, i2i_p5, i2i_p10: mean over photos, each a
        query among all others. map: average precision of each description, averaged within its class, then over the
        classes. All 0 to 1, and 1 where all right answers come first.

    Raises:
        InputError: the vectors are not finite.
    """
    _check_finite(images, texts)
    found = relevance(texts @ images.T, text_labels[:, None] == labels[None, :])  # (M, N)
    similar: dict[int, list[np.ndarray]] = {k: [] for k in PRECISION_AT}
    for rows in blocks(len(images), 8 * len(images)):  # what sorting takes, too
        # Without the diagonal, a row per photo with all photos but itself.
        others = np.arange(len(images))[rows, None] != np.arange(len(images))  # (n, N)
        count = len(others)
        scores = (images[rows] @ images.T)[others].reshape(count, -1)  # (n, N-1)
        same = (labels[rows, None] == labels[None, :])[others].reshape(count, -1)
        neighbours = relevance(scores, same)
        for k, parts in similar.items():
            parts.append(precision(neighbours, k))
    by_class = class_table(found, text_labels)
    return (
        {f"t2i_p{k}": float(precision(found, k).mean()) for k in PRECISION_AT}
        | {f"i2i_p{k}": float(np.concatenate(parts).mean()) for k, parts in similar.items()}
        | {"map": float(np.mean([row["map"] for row in by_class.values()])), "gallery": len(images)}
    )


def class_chance(labels: np.ndarray, text_labels: np.ndarray) -> dict[str, float]:
    """`precision` of a random ranking: the share of each query's class in the gallery, while the class lasts."""
    t2i = np.array([np.sum(labels == label) for label in text_labels])  # right answers of each query
    i2i = np.array([np.sum(labels == label) for label in labels]) - 1
    ways = {"t2i": (t2i, len(labels)), "i2i": (i2i, max(len(labels) - 1, 1))}
    return {
        # Of `right` among `gallery`, min(k, gallery) * right / gallery are expected, and min(k, right) would be all.
        f"{way}_p{k}": float(np.mean(min(k, gallery) * right / gallery / np.clip(right, 1, k)))
        for way, (right, gallery) in ways.items()
        for k in PRECISION_AT
    }


def relevance(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sort each row of `right` (Q, N) by falling `scores` (Q, N): whether the first, second, ... answer is right."""
    return _ranked(right, scores)


def precision(found: np.ndarray, k: int) -> np.ndarray:
    """Of right or wrong by rank (Q, N): how many of the first k are right, as a share of k or of all that are (Q,).

    0 where nothing is right.

    >>> precision(np.array([[True, False, True, False]]), 3)  # both that there are
    array([1.])
    """
    return found[:, :k].sum(axis=1) / np.clip(found.sum(axis=1), 1, k)


def average_precision(found: np.ndarray) -> np.ndarray:
    """(Q, N) of right or wrong by rank -> (Q,) mean of the precisions at the ranks of right answers; 0 if none."""
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    return (precision * found).sum(axis=1) / np.maximum(found.sum(axis=1), 1)


def class_table(found: np.ndarray, text_labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Per class, from `relevance` of the descriptions: t2i_p1, t2i_p5, t2i_p10 and map."""
    average = average_precision(found)
    return {
        str(label): {f"t2i_p{k}": float(precision(found[text_labels == label], k).mean()) for k in PRECISION_AT}
        | {"map": float(average[text_labels == label].mean())}
        for label in sorted(set(text_labels))
    }


def ndcg(scores: np.ndarray, gains: np.ndarray, k: int = NDCG_AT) -> float:
    """Normalised discounted cumulative gain of the first k answers: 1 when the best come first, in order.

    The answer at rank r counts gain / log2(r + 1); their sum is divided by that of the best possible order.

    Args:
        scores: (Q, N) of each query with each item, higher is closer.
        gains: (Q, N) how right each item is, from 0. A query for which nothing is right is left out.
        k: how many answers count.

    Returns:
        The mean over the queries; NaN when nothing is right for any.

    Raises:
        InputError: the scores are not finite.

    >>> round(ndcg(np.array([[0.1, 0.9]]), np.array([[1.0, 0.0]])), 3)  # the right one is second: 1 / log2(3)
    0.631
    """
    return _mean(each_ndcg(scores, gains, k))


def each_ndcg(scores: np.ndarray, gains: np.ndarray, k: int = NDCG_AT) -> np.ndarray:
    """`ndcg` of each query for which something is right, as far as there are such (Q,)."""
    _check_finite(scores)
    return _normalised(_ranked(gains, scores), gains, k)


def chance_ndcg(gains: np.ndarray, k: int = NDCG_AT) -> float:
    """What `ndcg` gives on average when the ranking is random: a gain of the row's mean at each rank."""
    return _mean(_normalised(np.broadcast_to(gains.mean(axis=1, keepdims=True), gains.shape), gains, k))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def without_own(values: np.ndarray) -> np.ndarray:
    """(N, N) of queries with items of the same N photos -> (N, N-1), each query's own photo left out."""
    return values[~np.eye(len(values), dtype=bool)].reshape(len(values), -1)


def _ranked(worth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sort each row of `worth` (Q, N) by falling `scores` (Q, N); among equal scores what is worth least comes first.

    As if what is worth most had scored `TIE` less, and all else in proportion.
    """
    handicap = TIE * worth / max(float(worth.max(initial=0)), 1e-12)
    return np.take_along_axis(worth, np.argsort(handicap - scores, axis=1), axis=1)


def _normalised(found: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
    """Gains (Q, N) in the order found, discounted and summed, over the same of the best order, of each query."""
    some = gains.any(axis=1)
    best = -np.sort(-gains[some], axis=1)
    discount = 1 / np.log2(np.arange(min(k, gains.shape[1])) + 2)  # (k,)
    return (found[some, :k] @ discount) / (best[:, :k] @ discount)


def classify(images: np.ndarray, texts: np.ndarray, text_labels: np.ndarray) -> np.ndarray:
    """The class of each photo (N,): the one whose descriptions are closest to it on average."""
    classes = np.array(sorted(set(text_labels)))
    centres = np.stack([texts[text_labels == label].mean(axis=0) for label in classes])  # (C, D)
    return classes[(images @ centres.T).argmax(axis=1)]


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: list[str]) -> np.ndarray:
    """(C, C) counts of photos: row is the class they are of, column the class they were taken for."""
    counts = np.zeros((len(classes), len(classes)), int)
    rows = {label: row for row, label in enumerate(classes)}
    np.add.at(counts, ([rows[label] for label in labels], [rows[label] for label in predicted]), 1)
    return counts


def _summary(ranks: Ranks, gallery: int) -> dict[str, float]:
    recalls = {f"{way}_r{k}": 100 * float(np.mean(at <= k)) for way, (at, _) in ranks.items() for k in RECALL_AT}
    medians = {f"median_rank_{way}": float(np.median(at)) for way, (at, _) in ranks.items()}
    return recalls | medians | {"gallery": gallery}


def _hits(ranks: Ranks) -> Hits:
    return {f"{way}_r{k}": (100.0 * (at <= k), of) for way, (at, of) in ranks.items() for k in RECALL_AT}


def _intervals(hits: Hits) -> dict[str, Interval]:
    return {name: mean_interval(found, of) for name, (found, of) in hits.items()}


def blocks(count: int, width: int) -> list[slice]:
    """Row numbers 0..count-1 in pieces, of which float32 in `width` columns take at most BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES // (4 * max(1, width)))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _check_finite(*arrays: np.ndarray) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("The vectors to compare are not all finite: training diverged; lower the learning rate.")
