"""Captioners and photos small enough for tests: what they train on, and settings that take a second."""

from pathlib import Path

import numpy as np

from helpers.captioning.captioner import Captioner, new_captioner
from helpers.captioning.training import CaptionData, CaptionTraining, caption_data
from helpers.data.manifest import Photo
from helpers.data.text import build_tokenizer
from helpers.features.store import Features

ANIMALS, PLACES = ("dog", "cat", "horse", "hen", "cow"), ("grass", "snow", "sand", "street", "sea")


def photo_set(count: int, seed: int = 0) -> tuple[list[Photo], Features]:
    """Photos whose vector says which animal is where; two or three captions each."""
    rng = np.random.default_rng(seed)
    photos, vectors = [], []
    for number in range(count):
        animal, place = rng.integers(0, 5, 2)
        texts = [f"a {ANIMALS[animal]} on the {PLACES[place]} .", f"the {PLACES[place]} is under a {ANIMALS[animal]}"]
        texts += [f"there is a big {ANIMALS[animal]} that stands there"] * int(number % 2)
        photos.append(Photo(f"{seed}-{number}", Path("x.jpg"), tuple(texts), "train"))
        vectors.append(np.concatenate([np.eye(5)[animal], np.eye(5)[place]]) + 0.05 * rng.normal(size=10))
    vectors = np.array(vectors, np.float32)
    grid = vectors[:, None] * np.array([[1.0], [0.5], [0.0], [0.2]], np.float32)  # (N, 4, 10)
    return photos, Features([photo.id for photo in photos], vectors, grid.astype(np.float16))


SMALL = {
    "lstm": {"embedding": 16, "hidden": 32, "dropout": 0.2},
    "attention": {"embedding": 16, "hidden": 32, "attention": 16, "dropout": 0.2},
    "transformer": {"width": 32, "heads": 4, "encoder_layers": 1, "decoder_layers": 2, "grid": 2, "dropout": 0.1},
}
KINDS = tuple(SMALL)


def prepared(count: int = 40, kind: str = "lstm", **model: float) -> tuple[Captioner, CaptionData, CaptionData]:
    train, train_features = photo_set(count)
    val, val_features = photo_set(18, seed=1)
    tokenizer = build_tokenizer("word", [text for photo in train for text in photo.captions])
    captioner = new_captioner(kind, tokenizer, 10, "vgg16", 12, **(SMALL[kind] | model))
    return (
        captioner,
        caption_data(kind, train, [train_features], tokenizer, 12),
        caption_data(kind, val, [val_features], tokenizer, 12),
    )


SETTINGS = CaptionTraining(epochs=3, batch=8, learning_rate=5e-3, self_critical_epochs=2)
