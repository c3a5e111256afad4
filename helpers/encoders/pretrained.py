"""Pretrained towers: what other networks know already, and one trained layer a side to make them meet.

A frozen backbone has seen a million photos, a frozen sentence encoder far more text. Neither knows the other's
language; a linear layer each turns both into one space, trained with the same contrastive loss as the towers of
`dual_encoder.py`. Frome et al., "DeViSE" (2013); Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning"
(2022).

    photo -> backbone (D) -> linear -> vector
    text -> one or more sentence encoders, side by side (W) -> linear -> vector

As nothing before the linear layers is trained, photos and texts are looked at once, and an epoch takes seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import Factor, Share, Size
from helpers.data.manifest import Photo
from helpers.devices import CPU, chosen_device, to_device
from helpers.encoders.dual_encoder import WEIGHTS, in_batches
from helpers.encoders.sentence_encoder import sentence_vectors
from helpers.encoders.training import EncoderSettings, PairData
from helpers.features.backbones import Backbone, load_backbone
from helpers.features.store import Features
from helpers.training.checkpoints import load_trained, save_trained

MADE_BY = "notebook 04c"


@dataclass(frozen=True)
class PretrainedConfig:
    """All that is needed to build the model again."""

    backbone: str
    photo_width: Size  # D, of the backbone's vectors
    sentence_encoders: str  # names for `sentence_vectors`
    sentence_width: Size  # W, of all of them together
    embedding: Size = 512
    dropout: Share = 0.35  # chosen on Flickr8k's validation photos
    temperature: Factor = 0.05  # where training starts; after training, what it ended with


class PretrainedEncoder(nn.Module):
    """The trained part: a linear layer a side."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.project_photo = nn.Linear(config.photo_width, config.embedding)
        self.project_text = nn.Linear(config.sentence_width, config.embedding)

    def encode_image(self, views: Tensor) -> Tensor:
        """What the backbone makes of a photo's views, such as the photo and its mirror image, (B, V, D) -> (B, E)."""
        x = F.layer_norm(views, views.shape[-1:])  # (B, V, D)
        x = F.normalize(self.project_photo(self.dropout(x)).float(), dim=2)  # (B, V, E)
        return F.normalize(x.mean(1), dim=1)  # unit length

    def encode_text(self, sentences: Tensor) -> Tensor:
        """Sentence vectors (B, W) -> (B, E), unit length."""
        return F.normalize(self.project_text(self.dropout(sentences)).float(), dim=1)


class PretrainedPair(NamedTuple):
    """A trained model with the frozen networks before it; the same interface as `EncoderPair`."""

    model: PretrainedEncoder
    backbone: Backbone

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that `embed_photos` takes."""
        return self.backbone.photo_size

    def encode_photo(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> unit vectors (B, E), from each photo and its mirror image."""
        pixels = to_device(pixels, self.backbone)
        views = [self.backbone(view)[0] for view in (pixels, pixels.flip(2))]  # (B, D) each
        return self.model.encode_image(to_device(torch.stack(views, dim=1), self.model))

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3) -> float32 unit vectors (N, E)."""
        return in_batches(self.model, self.encode_photo, pixels, 16)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, E)."""
        return self.embed_sentences(sentence_vectors(texts, self.model.config.sentence_encoders))

    def embed_sentences(self, sentences: np.ndarray) -> np.ndarray:
        """Texts as `sentence_vectors` (N, W) -> float32 unit vectors (N, E)."""
        return in_batches(self.model, self.model.encode_text, sentences)

    def save(self, folder: Path) -> None:
        """Write weights and config into `folder`, each atomically, the weights last."""
        save_trained(folder / WEIGHTS, self.model)


def new_pretrained_pair(backbone: Backbone, sentence_encoders: str, width: int, seed: int) -> PretrainedPair:
    """An untrained pair whose weights depend on `seed` alone."""
    config = PretrainedConfig(backbone.name, backbone.vector_width, sentence_encoders, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PretrainedPair(PretrainedEncoder(config), backbone)


class ViewData(PairData):
    """Photos as their views, float32 (N, V, D), and texts as sentence vectors, float32 (M, W)."""

    def batch_photos(self, rows: np.ndarray, settings: EncoderSettings, device: torch.device = CPU) -> Tensor:
        """One view of each photo, drawn at random: (B, 1, D)."""
        view = torch.randint(self.photos.shape[1], (len(rows),)).numpy()
        return to_device(self.photos[rows, view][:, None], device)

    def batch_texts(self, rows: np.ndarray) -> Tensor:
        """Texts `rows`: (B, W)."""
        return torch.from_numpy(self.texts[rows])


def view_data(photos: Sequence[Photo], looks: Sequence[Features], sentences: np.ndarray) -> ViewData:
    """Captioned photos as training or validation data.

    Args:
        photos: with as many captions, one after the other, as `sentences` has rows.
        looks: features of the photos, and of their mirror images if there are any.
        sentences: (M, W) vectors of the captions.
    """
    owners = np.repeat(np.arange(len(photos)), [len(photo.captions) for photo in photos])
    views = photo_views(looks, [photo.id for photo in photos])
    return ViewData(views, np.asarray(sentences), np.arange(len(photos)), owners)


def photo_views(looks: Sequence[Features], ids: Sequence[str]) -> np.ndarray:
    """Features of photos, and of their mirror images if there are any -> (N, V, D), a row for each id."""
    rows = looks[0].rows(ids)
    return np.stack([features.vectors[rows] for features in looks], axis=1)


def load_pretrained_pair(folder: Path) -> PretrainedPair:
    """The pair saved in `folder`, ready to embed.

    Raises:
        InputError: a file is missing, damaged, or belongs to another model.
    """
    model = load_trained(folder / WEIGHTS, PretrainedConfig, PretrainedEncoder, MADE_BY, "usable pretrained towers")
    return PretrainedPair(model, load_backbone(model.config.backbone).to(chosen_device()))
