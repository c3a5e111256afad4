"""Training the fusion model: batches of photos in two views each, triplet loss, the best epoch kept.

A view is a photo with one of its captions, or only the one or the other, drawn anew each time: so a missing side is
something the model has met. Views pull together when their photos share keywords (or are the same photo), and push
apart when they share none; what lies between takes no part. The more a pair shares, the wider is its margin: so the
order of those that belong together is learned, too. After each epoch the validation photos are searched, and the epoch
that ranks them best is kept (the last one, where no two of them share anything). A killed run continues at its next
epoch with the same result.
"""

import copy
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.devices import chosen_device, to_device
from helpers.encoders.fusion import WEIGHTS, Fusion, FusionEncoder, save_fusion
from helpers.encoders.keywords import overlap, shared_counts
from helpers.encoders.metrics import ndcg, retrieval_metrics, without_own
from helpers.encoders.training import TextDraw
from helpers.encoders.triplet import triplet_loss
from helpers.files import CHECKPOINT, InputError, write_json
from helpers.training.checkpoints import (
    HISTORY,
    fingerprint_run,
    finished_history,
    load_finished,
    mark_finished,
)
from helpers.training.loop import Training
from helpers.training.optimizer import adamw
from helpers.training.processes import gathered, several, share

MODES = ("both", "photo", "text")  # which sides a view has
GALLERIES = ("photo", "both")  # what is searched
TRIPLETS = 10_000  # to judge by


@dataclass(frozen=True)
class FusionData:
    """Photos as their backbone sees them, their captions as the sentence encoders read them, and their keywords."""

    vectors: np.ndarray  # float32 (N, D)
    sentences: np.ndarray  # float32 (M, W)
    owners: np.ndarray  # int (M,), the photo of each caption
    keywords: np.ndarray  # bool (N, K)
    weights: np.ndarray  # float32 (K,), see `helpers.encoders.keywords.Vocabulary`


@dataclass(frozen=True)
class FusionSettings:
    """What a training run is made of, beside model and data."""

    epochs: int
    batch: int = 128  # photos a step, two views of each
    shared: int = 2  # keywords that two photos share at least to be a positive pair
    alone: float = 0.5  # share of the views that are a photo or a text alone, half of them either
    margin: float = 0.4  # in squared distance, where two photos share all keywords; else the overlap's share of it
    learning_rate: float = 1e-3  # at the end of the warm-up
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of the steps
    seed: int = 42


def first_photos(data: FusionData, count: int) -> FusionData:
    """`data` of the first `count` photos alone: what compares all photos with each other grows with their square."""
    texts = data.owners < count
    return replace(
        data,
        vectors=data.vectors[:count],
        sentences=data.sentences[texts],
        owners=data.owners[texts],
        keywords=data.keywords[:count],
    )


# --- Triplets and searches to judge by ---


def draw_triplets(data: FusionData, count: int, shared: int, seed: int) -> np.ndarray:
    """Captions (count, 3), each standing for its photo, too: anchor, positive, negative.

    At random: an anchor, a photo that shares at least `shared` keywords with it (or as many as any two photos do, where
    all share fewer), and a photo that shares none; then a caption of each.

    Raises:
        InputError: no photo of `data` has both.
    """
    triplets = _triplets(data, count, shared, seed)
    if not len(triplets):
        raise InputError(
            f"None of the {len(data.keywords):,} photos shares keywords with one photo and none with another, so no "
            "triplet can be drawn; give more photos."
        )
    return triplets


def judging_triplets(data: FusionData, shared: int, seed: int) -> np.ndarray:
    """TRIPLETS of `draw_triplets` (T, 3) to judge by; none (0, 3) where no photo has both, as among a handful."""
    return _triplets(data, TRIPLETS, shared, seed)


def _triplets(data: FusionData, count: int, shared: int, seed: int) -> np.ndarray:
    """See `draw_triplets`."""
    rng = np.random.default_rng(seed)
    photos = np.arange(len(data.keywords))
    counts = shared_counts(data.keywords, data.keywords)
    np.fill_diagonal(counts, 0)
    positives, negatives = relations(data.keywords, photos, max(1, min(shared, counts.max())))
    anchors = np.flatnonzero(positives.any(axis=1) & negatives.any(axis=1))
    if not len(anchors):
        return np.empty((0, 3), int)
    chosen = rng.choice(anchors, count)
    drawn = [(a, rng.choice(np.flatnonzero(positives[a])), rng.choice(np.flatnonzero(negatives[a]))) for a in chosen]
    photos = np.array(drawn)  # (count, 3)
    return TextDraw(data.owners)(photos.reshape(-1), rng).reshape(photos.shape)


def embed_views(encoder: FusionEncoder, data: FusionData) -> dict[str, np.ndarray]:
    """For each of MODES, the vectors (M, embedding) of all captions, or of their photos, or of both together."""
    return {
        "both": encoder.embed(data.vectors[data.owners], data.sentences),
        "photo": encoder.embed(data.vectors)[data.owners],
        "text": encoder.embed(None, data.sentences),
    }


def triplet_accuracy(views: np.ndarray, triplets: np.ndarray) -> float:
    """Share of triplets (T, 3) of `views` (M, E) whose anchor is closer to the positive than to the negative.

    Chance is 0.5; a tie counts as wrong. NaN of no triplets.
    """
    return float(np.mean(triplet_hits(views, triplets))) if len(triplets) else math.nan


def triplet_hits(views: np.ndarray, triplets: np.ndarray) -> np.ndarray:
    """Of each triplet, whether `triplet_accuracy` counts it as right: bool (T,)."""
    anchor, positive, negative = views[triplets].swapaxes(0, 1)  # (T, E) each
    return (anchor * positive).sum(axis=1) > (anchor * negative).sum(axis=1)


def search_scores(views: dict[str, np.ndarray], owners: np.ndarray, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Every photo as a query for all others, in each mode: gallery -> mode of the query -> cosines (N, N).

    The gallery is an album without captions ("photo") or one with a caption a photo ("both"). The caption that a query
    has and the one that the photo has in the gallery are drawn at random, each by itself.
    """
    rng = np.random.default_rng(seed)
    photos, draw = np.unique(owners), TextDraw(owners)
    asked, stored = draw(photos, rng), draw(photos, rng)
    return {
        gallery: {mode: vectors[asked] @ views[gallery][stored].T for mode, vectors in views.items()}
        for gallery in GALLERIES
    }


def evaluate(encoder: FusionEncoder, data: FusionData, triplets: np.ndarray, seed: int) -> dict[str, float]:
    """All figures of `data`, flat.

    Returns:
        triplet_accuracy_<mode>; ndcg_<mode of the query>_in_<gallery>, each query's own photo left out; and
        `retrieval_metrics` of captions alone against photos alone.
    """
    views = embed_views(encoder, data)
    gains = without_own(overlap(data.keywords, data.keywords, data.weights))
    figures = {f"triplet_accuracy_{mode}": triplet_accuracy(vectors, triplets) for mode, vectors in views.items()}
    for gallery, scores in search_scores(views, data.owners, seed).items():
        figures |= {f"ndcg_{mode}_in_{gallery}": ndcg(without_own(found), gains) for mode, found in scores.items()}
    return figures | retrieval_metrics(encoder.embed(data.vectors), views["text"], data.owners)


def selection_score(figures: dict[str, float]) -> float:
    """The one number by which epochs are compared: the mean nDCG of all searches; NaN where none has an answer."""
    return float(np.mean([value for name, value in figures.items() if name.startswith("ndcg")]))


# --- Training ---


def train_fusion(
    encoder: FusionEncoder, train: FusionData, val: FusionData, settings: FusionSettings, folder: Path
) -> tuple[FusionEncoder, dict[str, Any]]:
    """Train a copy of `encoder`, on the chosen device, and publish its best epoch in `folder`; until then only a
    checkpoint is written there.

    Where the very same training has ended before, its result is loaded instead.

    Args:
        encoder: an untrained encoder to start from, or a trained one to continue from.
        train: what to learn from.
        val: what to choose the epoch by.
        settings: the recipe.
        folder: where `load_fusion` finds the result, beside history.json.

    Returns:
        The encoder with the weights of its best epoch, and the history: `epochs` (a mapping each), best_epoch (from
        1), train_seconds, photos_per_second, parameters.

    Raises:
        InputError: the loss is no longer a number, or there are too few photos or epochs.
    """
    if len(train.vectors) < 3:
        raise InputError(f"{len(train.vectors)} training photos are too few for a triplet; give at least 3.")
    run = fingerprint_run(
        **several(),
        settings=asdict(settings),
        config=asdict(encoder.config),
        start=torch.cat([weight.detach().flatten() for weight in encoder.model.state_dict().values()]),
        **{f"train_{name}": value for name, value in vars(train).items()},
        **{f"val_{name}": value for name, value in vars(val).items()},
    )
    training = _FusionTraining(encoder.model, train, val, settings)
    trained = encoder._replace(model=training.model)
    ended = finished_history(folder / WEIGHTS, run)
    if ended is not None:
        load_finished(trained.model, folder / WEIGHTS)
        return trained, ended
    history = training.run(folder, run)
    write_json(folder / HISTORY, history)
    save_fusion(folder, trained)
    mark_finished(folder / WEIGHTS, run)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return trained, history


def draw_sides(count: int, alone: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For `count` views, which have a photo and which a text; a share of `alone` lacks one of them."""
    place = rng.random(count)
    return place >= alone / 2, (place < alone / 2) | (place >= alone)


def relations(keywords: np.ndarray, photos: np.ndarray, shared: int) -> tuple[np.ndarray, np.ndarray]:
    """Keywords (B, K) of views and the number (B,) of their photo -> positives and negatives, bool (B, B).

    Positives share at least `shared` keywords, or are of the same photo; negatives have keywords and share none.
    """
    counts = shared_counts(keywords, keywords)
    some = keywords.any(axis=1)
    same = photos[:, None] == photos[None, :]
    positives = ((counts >= shared) | same) & ~np.eye(len(photos), dtype=bool)
    negatives = (counts == 0) & some[:, None] & some[None, :]
    return positives, negatives


class _FusionTraining(Training):
    """Two views of each photo, and the triplet loss."""

    def __init__(self, model: Fusion, data: FusionData, val: FusionData, settings: FusionSettings) -> None:
        model = copy.deepcopy(model).to(chosen_device())
        self.data, self.val = data, val
        self.draw = TextDraw(data.owners)
        self.triplets = judging_triplets(val, settings.shared, settings.seed)
        optimizer = adamw(model.parameters(), settings.learning_rate, settings.weight_decay)
        super().__init__(model, optimizer, settings, len(data.vectors))

    def loss_of(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        photos = np.repeat(rows, 2)  # (B,)
        captions = self.draw(photos, rng)
        has_photo, has_text = draw_sides(len(photos), self.settings.alone, rng)
        own = share(np.arange(len(photos)).reshape(len(rows), 2)).reshape(-1)  # of the views, those of this process
        sides = self.data.vectors[photos[own]], self.data.sentences[captions[own]], has_photo[own], has_text[own]
        vectors = self.model(*(to_device(side, self.model) for side in sides))
        vectors = gathered(vectors, len(rows))  # (B, embedding)
        keywords = self.data.keywords[photos]
        positives, negatives = relations(keywords, photos, self.settings.shared)
        margins = self.settings.margin * overlap(keywords, keywords, self.data.weights)  # (B, B)
        return triplet_loss(vectors, *(to_device(pairs, self.model) for pairs in (positives, negatives, margins)))

    def judge(self) -> tuple[dict[str, float], float]:
        figures = evaluate(FusionEncoder(self.model), self.val, self.triplets, self.settings.seed)
        return figures, selection_score(figures)
