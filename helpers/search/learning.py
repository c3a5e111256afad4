"""Learning from corrections: a trained model goes on with a few photos of another kind, and keeps what it knows.

Trained on new photos alone, a network forgets old ones (McCloskey and Cohen, "Catastrophic Interference in
Connectionist Networks", 1989). The plainest cure is rehearsal: as many old photos among the new ones (Robins,
"Catastrophic Forgetting, Rehearsal and Pseudorehearsal", 1995), and a lower learning rate than the first time. Which
epoch is kept is decided by photos of both kinds.

    lesson = prepare_lesson(corrected, album_looks, manifest, run_looks, seed=42)
    pair, history = teach_towers(load_pretrained_pair(outputs / "pretrained_encoder"), lesson, folder)

The loops are those of the first training: a killed lesson goes on at its next epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np

from helpers.captioning.captioner import Captioner
from helpers.captioning.scoring import cider_by_photo
from helpers.captioning.training import CaptionTraining, History, split_data, train_captioner
from helpers.data.manifest import ClassPhoto, Manifest, Photo
from helpers.encoders.pretrained import PretrainedPair, ViewData, view_data
from helpers.encoders.sentence_encoder import sentence_vectors
from helpers.encoders.training import EncoderSettings, evaluate, train_dual_encoder
from helpers.features.store import Features, together
from helpers.files import InputError

LEAST = 10  # corrected photos
Item = TypeVar("Item")


@dataclass(frozen=True)
class Lesson:
    """What a model goes on with.

    Attributes:
        photos: new and old ones by split, "train" and "val".
        looks: features of all of them, and of their mirror images if there are any.
        new: how many of the photos to train on are new.
    """

    photos: dict[str, list[Photo]]
    looks: list[Features]
    new: int


def prepare_lesson(
    corrected: Sequence[Photo],
    looks: Sequence[Features],
    manifest: Manifest,
    old_looks: Sequence[Features],
    seed: int,
    rehearse: bool = True,
) -> Lesson:
    """A fifth of the corrected photos to choose the epoch by, the others to train on, old photos among both.

    Args:
        corrected: photos with captions that people wrote.
        looks: their features, and those of their mirror images if the model learned with them.
        manifest: of the run, for old photos: as many of "train" and of "val".
        old_looks: features of the run's photos, by the same backbone, as many as `looks`.
        seed: which photos go where.
        rehearse: False: no old photos.

    Raises:
        InputError: fewer than LEAST corrected photos.
    """
    if len(corrected) < LEAST:
        raise InputError(f"{len(corrected)} corrected captions are too few to learn from; correct {LEAST} or more.")
    rng = Random(seed)
    new = rng.sample(list(corrected), len(corrected))
    fifth = len(new) // 5
    splits = {"val": new[:fifth], "train": new[fifth:]}
    old = {name: _some(manifest.split(name), len(part), rng) if rehearse else [] for name, part in splits.items()}
    ids, old_ids = ([photo.id for part in kind.values() for photo in part] for kind in (splits, old))
    if shared := set(ids) & set(old_ids):
        raise InputError(f"The album and the run both have a photo {min(shared)}; rename it in the album.")
    both = [together((part, ids), (old_part, old_ids)) for part, old_part in zip(looks, old_looks, strict=True)]
    return Lesson({name: splits[name] + old[name] for name in splits}, both, len(splits["train"]))


def teach_towers(
    pair: PretrainedPair, lesson: Lesson, folder: Path, seed: int = 42, epochs: int = 10, rate: float = 3e-4
) -> tuple[PretrainedPair, dict[str, Any]]:
    """The pair after the lesson, saved in `folder`, and the history; see `train_dual_encoder`.

    `rate` is a third of the first training's.
    """
    data = {name: sentence_views(pair, photos, lesson.looks) for name, photos in lesson.photos.items()}
    settings = EncoderSettings(epochs=epochs, batch=64, texts=5, learning_rate=rate, seed=seed)
    return train_dual_encoder(pair, data["train"], data["val"], settings, folder)


def sentence_views(pair: PretrainedPair, photos: Sequence[Photo], looks: Sequence[Features]) -> ViewData:
    """Photos and their captions as `pair` takes them."""
    texts = [text for photo in photos for text in photo.captions]
    return view_data(pair, photos, looks, sentence_vectors(texts, pair.model.config.sentence_encoders))


def teach_captioner(
    captioner: Captioner, lesson: Lesson, folder: Path, seed: int = 42, epochs: int = 4, rate: float = 5e-4
) -> History:
    """Train `captioner` in place and save it in `folder`; see `train_captioner`.

    `rate` is about a quarter of the first training's.
    """
    data = split_data(captioner.kind, lesson.photos, lesson.looks, captioner.tokenizer, captioner.max_length)
    settings = CaptionTraining(epochs=epochs, batch=16, learning_rate=rate, seed=seed)
    return train_captioner(captioner, data["train"], data["val"], settings, folder)


@dataclass(frozen=True)
class Skills:
    """How well a pair and a captioner do on some photos.

    Attributes:
        t2i_r1: in %, with these photos as the gallery.
        ciders: CIDEr-D of the caption of each photo (N,).
    """

    t2i_r1: float
    ciders: np.ndarray

    @property
    def cider_d(self) -> float:
        return float(self.ciders.mean())

    def figures(self) -> dict[str, float]:
        """For a table or a file."""
        return {"t2i_r1": self.t2i_r1, "cider_d": self.cider_d}


def skills(
    pair: PretrainedPair,
    captioner: Captioner,
    photos: Sequence[Photo],
    pair_looks: Sequence[Features],
    captioner_looks: Sequence[Features],
) -> Skills:
    """How well both do on photos.

    `pair_looks` and `captioner_looks` are features of the photos by the backbone of each.
    """
    ids = [photo.id for photo in photos]
    found = evaluate(pair.model, sentence_views(pair, photos, pair_looks))
    said = captioner.texts(captioner.decode(captioner.features(captioner_looks[0], ids)))
    truth = {photo.id: photo.captions for photo in photos}
    return Skills(found["t2i_r1"], cider_by_photo(dict(zip(ids, said, strict=True)), truth))


def a_few_of_each(photos: Sequence[ClassPhoto], count: int, seed: int) -> list[ClassPhoto]:
    """At most `count` photos of each class and split, to rehearse while new classes are learned."""
    rng = Random(seed)
    groups: dict[tuple[str, str], list[ClassPhoto]] = {}
    for photo in photos:
        groups.setdefault((photo.label, photo.split), []).append(photo)
    return [photo for group in groups.values() for photo in _some(group, count, rng)]


def _some(items: Sequence[Item], count: int, rng: Random) -> list[Item]:
    return rng.sample(list(items), min(count, len(items)))
