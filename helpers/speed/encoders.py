"""How fast the two towers train: photos kept as bytes and handled a batch at a time against the loop of many scripts.

That loop opens every photo again in every epoch, augments each by itself, and calculates in float32. The rungs of the
ladder between it and `train_dual_encoder` are taken one by one.
"""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from helpers.data.manifest import load_manifest
from helpers.devices import CPU, autocast
from helpers.encoders.contrastive import ContrastiveLoss, same
from helpers.encoders.dual_encoder import EncoderPair, in_batches, load_dual_encoder
from helpers.encoders.training import EncoderSettings, PairData, augment, caption_pairs
from helpers.environment import keep_freed_memory
from helpers.speed.extraction import decode
from helpers.training.optimizer import adamw, descend

Look = Callable[[np.ndarray], Tensor]  # rows -> augmented photos (B, S, S, 3)


def photos_per_second(
    model: nn.Module,
    data: PairData,
    look: Look,
    precision: Callable[[], AbstractContextManager[None]],
    settings: EncoderSettings,
    steps: int,
    words: Tensor | None = None,
    warm_up: int = 2,
) -> float:
    """Photos learned from a second over `steps` steps of `model`, after `warm_up` more.

    With `words`, unit vectors (M, D) of the texts, the text tower rests and the photo tower learns to meet them.
    """
    model.train()
    loss_of = ContrastiveLoss(model.config.temperature)
    optimizer = adamw([*model.parameters(), *loss_of.parameters()], settings.learning_rate, settings.weight_decay)
    rng = np.random.default_rng(settings.seed)
    first_text = np.searchsorted(data.text_groups, np.arange(len(data.photos)))  # of each photo
    seconds = []
    for _ in range(steps + warm_up):
        start = time.perf_counter()
        rows = rng.choice(len(data.photos), settings.batch, replace=False)
        photos = look(rows)
        with precision():
            images = model.encode_image(photos)
            texts = model.encode_text(data.batch_texts(first_text[rows])) if words is None else words[first_text[rows]]
        groups = torch.from_numpy(rows)
        descend(model, optimizer, loss_of(images, texts, same(groups, groups)), settings.clip)
        seconds.append(time.perf_counter() - start)
    return settings.batch * steps / sum(seconds[warm_up:])


def photos_ladder(
    pair: EncoderPair, paths: list[Path], data: PairData, settings: EncoderSettings, steps: int, words: bool
) -> dict[str, float]:
    """Photos a second on the way from the slow loop to `train_dual_encoder`; each rung keeps the cures before it.

    Args:
        pair: the towers; a copy of them is trained.
        paths: files of the photos in `data`, each of which has its own number as its group.
        data: what to learn from.
        settings: the recipe.
        steps: timed steps a rung, after two to warm up.
        words: train the text tower, too.
    """
    texts = None if words else torch.from_numpy(in_batches(pair.model, pair.model.encode_text, data.texts))

    def one_by_one(rows: np.ndarray, photos: Callable[[int], np.ndarray]) -> Tensor:
        return torch.cat([augment(torch.from_numpy(photos(row)[None]), settings) for row in rows])

    def opened(rows: np.ndarray) -> Tensor:
        return one_by_one(rows, lambda row: decode(paths[row], pair.photo_size))

    def kept(rows: np.ndarray) -> Tensor:
        return one_by_one(rows, lambda row: data.photos[row])

    def together(rows: np.ndarray) -> Tensor:
        return data.batch_photos(rows, settings)

    def speed(look: Look, fast: bool) -> float:
        layout = torch.channels_last if fast else torch.contiguous_format
        model = copy.deepcopy(pair.model).to(memory_format=layout)
        precision = partial(autocast, CPU) if fast else nullcontext
        return photos_per_second(model, data, look, precision, settings, steps, texts)

    ladder = {
        "each photo opened again": speed(opened, False),
        "photos kept as bytes": speed(kept, False),
        "augmented as a batch": speed(together, False),
        "bfloat16, channels last": speed(together, True),
    }
    keep_freed_memory()  # for good, so this comes last
    return ladder | {"freed memory kept": speed(together, True)}


def trained_photos_ladder(outputs: Path, steps: int, words: bool, count: int = 512) -> dict[str, float]:
    """`photos_ladder` of the dual encoder that a finished run left in `outputs`, on `count` photos of that run."""
    pair = load_dual_encoder(outputs / "dual_encoder")
    photos = load_manifest(outputs).split("train")[:count]
    data = caption_pairs(photos, pair)
    settings = EncoderSettings(epochs=1, batch=min(64, len(photos)))
    return photos_ladder(pair, [photo.path for photo in photos], data, settings, steps, words)
