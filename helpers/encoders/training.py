"""Training a pair of towers: batches of photos with texts of theirs, contrastive loss, the best epoch kept.

The recipe: photos decoded once and kept as bytes, augmented a whole batch at a time; AdamW with warm-up and a
cosine decay (Loshchilov and Hutter, 2017 and 2019), gradients clipped; convolutions and products in bfloat16
where the processor has it. After each epoch the validation photos are searched, and the epoch that ranks them
best is kept. A killed run continues at its next epoch with the same result (see `training/checkpoints.py`).
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data.images import load_pixels
from helpers.data.manifest import ClassPhoto, Photo
from helpers.devices import CPU, autocast, chosen_device, device_of, to_device
from helpers.encoders.contrastive import ContrastiveLoss, same
from helpers.encoders.dual_encoder import WEIGHTS, EncoderPair, in_batches
from helpers.encoders.metrics import class_metrics, retrieval_metrics
from helpers.features.rows import Views, told_by
from helpers.files import CHECKPOINT, InputError, write_json
from helpers.training.checkpoints import (
    HISTORY,
    fingerprint_run,
    finished_history,
    load_finished,
    mark_finished,
)
from helpers.training.loop import Training
from helpers.training.optimizer import adamw, matrices_of
from helpers.training.processes import gathered, several, share


class Towers(Protocol):
    """What can be trained here: `EncoderPair` and `PretrainedPair`."""

    model: nn.Module  # with `config`, `encode_image` and `encode_text`

    @property
    def vocabulary(self) -> tuple[str, ...]: ...

    def save(self, folder: Path) -> None: ...

    def _replace(self, *, model: nn.Module) -> "Towers": ...


Pair = TypeVar("Pair", bound=Towers)


@dataclass(frozen=True)
class PairData:
    """Photos and texts, and which belong together: those with the same group number.

    With captions each photo is a group of its own; with classes all photos and descriptions of a class are one.
    """

    photos: np.ndarray | Views  # uint8 (N, S, S, 3)
    texts: np.ndarray  # token ids int64 (M, T), padded with 0
    photo_groups: np.ndarray  # int (N,)
    text_groups: np.ndarray  # int (M,)
    by_class: bool  # which groups alone do not tell: a class may have a single photo

    def batch_photos(self, rows: np.ndarray, settings: "EncoderSettings", device: torch.device = CPU) -> Tensor:
        """Photos `rows` as the photo tower meets them in training: augmented, (B, S, S, 3), on `device`."""
        return augment(to_device(self.photos[rows], device), settings)

    def batch_texts(self, rows: np.ndarray) -> Tensor:
        """Texts `rows`, (B, T), without padding that none of them needs."""
        tokens = torch.from_numpy(self.texts[rows])
        return tokens[:, : int((tokens != 0).sum(dim=1).max())]


def caption_pairs(photos: Sequence[Photo], pair: EncoderPair) -> PairData:
    """Captioned photos as training or validation data for `pair`."""
    owners = np.repeat(np.arange(len(photos)), [len(photo.captions) for photo in photos])
    tokens = pair.tokens([caption for photo in photos for caption in photo.captions])
    pixels = load_pixels([photo.path for photo in photos], pair.photo_size)
    return PairData(pixels, tokens, np.arange(len(photos)), owners, by_class=False)


def class_pairs(photos: Sequence[ClassPhoto], descriptions: dict[str, list[str]], pair: EncoderPair) -> PairData:
    """Photos of classes, with the descriptions of all classes, as training or validation data for `pair`."""
    numbers = {label: number for number, label in enumerate(descriptions)}
    owners = np.repeat(np.arange(len(numbers)), [len(texts) for texts in descriptions.values()])
    tokens = pair.tokens([text for texts in descriptions.values() for text in texts])
    pixels = load_pixels([photo.path for photo in photos], pair.photo_size)
    return PairData(pixels, tokens, np.array([numbers[photo.label] for photo in photos]), owners, by_class=True)


@dataclass(frozen=True)
class EncoderSettings:
    """What a training run is made of, beside model and data."""

    epochs: int
    batch: int = 64  # photos a step
    texts: int = 1  # of each photo a step
    learning_rate: float = 1e-3  # at the end of the warm-up
    muon: bool = False  # for filters and matrices, see `helpers.training.optimizer`
    tail_share: float = 0.5  # of that rate, for the last layers of a backbone, where these are trained, too
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of the steps
    clip: float = 1.0  # largest norm of all gradients together
    turn: float = 10.0  # degrees a photo is turned at most
    zoom: float = 0.2  # share of a photo's side that is cut away at most
    colour: float = 0.3  # share by which brightness, contrast and saturation change at most
    seed: int = 42


def augment(pixels: Tensor, settings: EncoderSettings) -> Tensor:
    """Mirror, turn, zoom and recolour each photo of a batch differently, all photos at once.

    uint8 (B, S, S, 3) -> float 0..255 (B, S, S, 3), where `pixels` are. Draws from PyTorch's global generator of the
    processor, so that all devices draw the same.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high)

    def about_one() -> Tensor:
        return to_device(uniform(1 - settings.colour, 1 + settings.colour), pixels.device)[:, None, None, None]

    # One matrix a photo holds mirror, angle, zoom and shift: output place -> input place, both from -1 to 1.
    angle = torch.deg2rad(uniform(-settings.turn, settings.turn))
    scale = uniform(1 - settings.zoom, 1)
    mirror = torch.randint(0, 2, (count,)) * 2.0 - 1
    right, down = (1 - scale) * uniform(-1, 1), (1 - scale) * uniform(-1, 1)
    matrix = torch.stack(
        [
            torch.stack([mirror * scale * angle.cos(), -scale * angle.sin(), right], dim=1),
            torch.stack([mirror * scale * angle.sin(), scale * angle.cos(), down], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3)
    x = pixels.permute(0, 3, 1, 2).float()  # (B, 3, S, S)
    places = F.affine_grid(to_device(matrix, pixels.device), list(x.shape), align_corners=False)  # (B, S, S, 2)
    x = F.grid_sample(x, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    grey = x.mean(dim=1, keepdim=True)  # (B, 1, S, S)
    x = grey + about_one() * (x - grey)  # saturation
    middle = x.mean(dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    x = (middle + about_one() * (x - middle)) * about_one()  # contrast, then brightness
    return x.clamp(0, 255).permute(0, 2, 3, 1)


class TextDraw:
    """Draws, for photos by their group numbers, texts of the same group."""

    def __init__(self, text_groups: np.ndarray) -> None:
        self.order = np.argsort(text_groups, kind="stable")  # rows of the texts, group by group
        self.count = np.bincount(text_groups)
        self.first = self.count.cumsum() - self.count  # where in `order` each group begins

    def __call__(self, groups: np.ndarray, rng: np.random.Generator, each: int = 1) -> np.ndarray:
        """Group numbers (B,) -> rows (B * each,) of random texts, a photo's side by side; different while they last."""
        count = self.count[groups, None]
        drawn = (rng.integers(0, count) + np.arange(each)) % count  # (B, each)
        return self.order[self.first[groups, None] + drawn].reshape(-1)


def evaluate(model: nn.Module, data: PairData) -> dict[str, float]:
    """Retrieval figures: by class or, where each photo is a group of its own, by photo."""
    images = in_batches(model, model.encode_image, data.photos)
    texts = in_batches(model, model.encode_text, data.texts)
    if data.by_class:
        return class_metrics(images, data.photo_groups, texts, data.text_groups)
    return retrieval_metrics(images, texts, data.text_groups)


def selection_score(metrics: dict[str, float]) -> float:
    """The one number by which epochs are compared: the sum of the six recalls, or mean average precision."""
    if "map" in metrics:
        return metrics["map"]
    return sum(metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10))


def train_dual_encoder(
    pair: Pair, train: PairData, val: PairData, settings: EncoderSettings, folder: Path
) -> tuple[Pair, dict[str, Any]]:
    """Train a copy of `pair`, on the chosen device, and publish its best epoch in `folder`; until then only a
    checkpoint is written there.

    Where the very same training has ended before, its result is loaded instead.

    Args:
        pair: an untrained pair to start from, or a trained one to continue from (then lower the learning rate).
        train: what to learn from.
        val: what to choose the epoch by.
        settings: the recipe.
        folder: where `load_dual_encoder` or `load_pretrained_pair` finds the result, beside history.json.

    Returns:
        The pair with the weights of its best epoch, and the history: `epochs` (a mapping each), best_epoch (from
        1), train_seconds, photos_per_second, parameters.

    Raises:
        InputError: the loss is no longer a number, or there are too few photos or epochs.
    """
    if len(train.photos) < 2:
        raise InputError(f"{len(train.photos)} training photos are too few for a contrast; give at least 2.")
    run = fingerprint_run(
        **several(),
        settings=asdict(settings),
        config=asdict(pair.model.config),
        vocabulary=pair.vocabulary,
        start=torch.cat([weight.detach().flatten() for weight in pair.model.parameters()]),
        **{
            f"{split}_{name}": told_by(part) if name == "photos" else part
            for split, data in {"train": train, "val": val}.items()
            for name, part in vars(data).items()
        },
    )
    training = _EncoderTraining(pair.model, train, val, settings)
    best = training.model
    ended = finished_history(folder / WEIGHTS, run)
    if ended is not None:
        load_finished(best, folder / WEIGHTS)
    history = ended or training.run(folder, run)
    best.config = replace(best.config, temperature=history["epochs"][history["best_epoch"] - 1]["temperature"])
    trained = pair._replace(model=best)
    if ended is None:
        write_json(folder / HISTORY, history)
        trained.save(folder)
        mark_finished(folder / WEIGHTS, run)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return trained, history


class _EncoderTraining(Training):
    """Photos with texts of theirs, and the contrastive loss."""

    def __init__(self, model: nn.Module, data: PairData, val: PairData, settings: EncoderSettings) -> None:
        model = copy.deepcopy(model).to(chosen_device(), memory_format=torch.channels_last)
        self.loss = ContrastiveLoss(model.config.temperature).to(chosen_device())
        self.data, self.val = data, val
        self.draw = TextDraw(data.text_groups)
        parameters = [*model.parameters(), *self.loss.parameters()]
        tail = getattr(model, "tail", nn.Identity()).parameters()
        matrices = matrices_of(model) if settings.muon else ()
        optimizer = adamw(
            parameters, settings.learning_rate, settings.weight_decay, tail, settings.tail_share, matrices
        )
        super().__init__(model, optimizer, settings, len(data.photos), settings.clip, loss=self.loss)

    def loss_of(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        groups = self.data.photo_groups[rows]
        drawn = self.draw(groups, rng, self.settings.texts)
        device = device_of(self.model)
        photos = self.data.batch_photos(share(rows), self.settings, device)
        own = share(drawn.reshape(len(rows), -1)).reshape(-1)
        texts = to_device(self.data.batch_texts(own), device)
        with autocast(device):
            images = gathered(self.model.encode_image(photos), len(rows))  # (B, D)
            words = gathered(self.model.encode_text(texts), len(rows))  # (B * texts, D)
        numbers, text_numbers = torch.from_numpy(groups), torch.from_numpy(self.data.text_groups[drawn])
        return self.loss(images, words, to_device(same(numbers, text_numbers), device))

    def judge(self) -> tuple[dict[str, float], float]:
        figures = evaluate(self.model, self.val)
        return {"temperature": self.loss.temperature} | figures, selection_score(figures)
