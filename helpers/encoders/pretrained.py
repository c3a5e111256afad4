"""Pretrained towers: what other networks know already, and one trained layer a side to make them meet.

A frozen backbone has seen a million photos, a frozen sentence encoder far more text. Neither knows the other's
language; a linear layer each turns both into one space, trained with the same contrastive loss as the towers of
`dual_encoder.py`. Frome et al., "DeViSE" (2013); Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning"
(2022).

    photo -> backbone (D) -> linear -> vector
    text -> one or more sentence encoders, side by side (W) -> linear -> vector

As nothing before the linear layers is trained, photos and texts are looked at once, and an epoch takes seconds.

Where several backbones look side by side, each has a linear layer a side of its own, and a share of the vector: the
cosine of two such vectors is the mean of their eyes' cosines, as with an ensemble, and is still one product. One layer
over the numbers of all eyes found less: on Flickr8k's validation photos, recall@1 from photo to text and from text to
photo was 54.0 and 44.4 with it, 58.4 and 44.8 with a layer each (EfficientNet-Lite0 and Lite2 at 352 pixels).
`colours` is too weak an eye for a share of its own, and goes with the one before it: there, two seeds of Lite0 alone
found 51.2 and 38.8, 49.6 and 38.6; with colours and a layer each 46.4 and 35.3, 47.4 and 36.2; with one layer for both
50.0 and 38.8, 50.6 and 39.6.

`with_tail` goes on from there: the last layers of the backbone learn, too, from what its frozen first part, the stem,
sees of the photos (Faghri et al., "VSE++", 2018, gained most from this). First the linear layers, then what is before
them: the other way round, layers of random numbers would pull at features that were good (Kumar et al., "Fine-Tuning
can Distort Pretrained Features and Underperform Out-of-Distribution", 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import Factor, Share, Size
from helpers.backbone_names import COLOURS, eyes, stem_name, vector_is_mean
from helpers.data.manifest import Photo
from helpers.devices import CPU, chosen_device, to_device
from helpers.encoders.dual_encoder import WEIGHTS, in_batches
from helpers.encoders.sentence_encoder import sentence_vectors
from helpers.encoders.training import EncoderSettings, PairData
from helpers.features.backbones import Backbone, load_backbone, load_tail, stem_of, tail_of
from helpers.features.rows import Rows, Views
from helpers.features.store import Features
from helpers.files import InputError
from helpers.training.checkpoints import load_trained, save_trained

MADE_BY = "notebook 04c"


@dataclass(frozen=True)
class PretrainedConfig:
    """All that is needed to build the model again."""

    backbone: str
    photo_width: Size  # D, of the backbone's vectors, all its eyes together
    sentence_encoders: str  # names for `sentence_vectors`
    sentence_width: Size  # W, of all of them together
    embedding: Size = 512  # E, all eyes together
    dropout: Share = 0.35  # chosen on Flickr8k's validation photos
    temperature: Factor = 0.05  # where training starts; after training, what it ended with
    tail: str = ""  # the backbone whose last layers are trained, too: see `with_tail`; `backbone` is then its stem
    eyes: tuple[Size, ...] = ()  # how many of the D numbers each eye's layer takes; empty: there is one


class PretrainedEncoder(nn.Module):
    """The trained part: a linear layer a side, and the backbone's last layers where these are trained, too."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.tail = load_tail(config.tail, published=False) if config.tail else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.eyes = config.eyes or (config.photo_width,)
        # A layer for each eye, kept as one: columns of the weights here, rows there. For photos they share a bias.
        self.project_photo = nn.Linear(config.photo_width, config.embedding // len(self.eyes))
        self.project_text = nn.Linear(config.sentence_width, config.embedding)

    def encode_image(self, views: Tensor) -> Tensor:
        """What the backbone makes of a photo's views, such as the photo and its mirror image -> (B, E), unit length.

        Vectors (B, V, D); where there is a tail, the grids of its stem (B, V, R, C).
        """
        if self.config.tail:
            vectors = self.tail(views.flatten(0, 1)).mean(1)  # (B * V, D)
            views = vectors.view(views.shape[0], views.shape[1], vectors.shape[1])
        layers, bias = self.project_photo.weight.split(self.eyes, dim=1), self.project_photo.bias
        seen = [F.layer_norm(part, part.shape[-1:]) for part in views.split(self.eyes, dim=2)]  # (B, V, D of an eye)
        x = [F.linear(self.dropout(part), layer, bias) for part, layer in zip(seen, layers, strict=True)]
        x = F.normalize(torch.stack(x, dim=2).float(), dim=3)  # (B, V, eyes, E / eyes)
        return self._joined(x.mean(1))

    def encode_text(self, sentences: Tensor) -> Tensor:
        """Sentence vectors (B, W) -> (B, E), unit length."""
        x = self.project_text(self.dropout(sentences)).float()  # (B, E)
        return self._joined(x.unflatten(1, (len(self.eyes), -1)))

    def _joined(self, x: Tensor) -> Tensor:
        """The shares of the eyes (B, eyes, E / eyes) -> (B, E), all of the same length, together of unit length."""
        return F.normalize(x, dim=2).flatten(1) / len(self.eyes) ** 0.5


class PretrainedPair(NamedTuple):
    """A trained model with the frozen networks before it; the same interface as `EncoderPair`."""

    model: PretrainedEncoder
    backbone: Backbone

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that `embed_photos` takes."""
        return self.backbone.photo_size

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Empty: the model reads sentence vectors, not ids."""
        return ()

    def encode_photo(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> unit vectors (B, E), from each photo and its mirror image."""
        pixels = to_device(pixels, self.backbone)
        views = [self.look(view) for view in (pixels, pixels.flip(2))]  # (B, D) or (B, R, C) each
        return self.model.encode_image(to_device(torch.stack(views, dim=1), self.model))

    def look(self, pixels: Tensor) -> Tensor:
        """What the model sees of photos uint8 (B, S, S, 3): vectors (B, D), or with a tail grids (B, R, C)."""
        vectors, grid = self.backbone(pixels)
        return grid if self.model.config.tail else vectors

    def views(self, looks: Sequence[Features], ids: Sequence[str]) -> np.ndarray | Views:
        """What the model sees of photos by their features, and of their mirror images if there are any.

        `looks` are by this pair's backbone. A row for each id: (N, V, D), or with a tail (N, V, R, C), which stay where
        they are until they are read.
        """
        if not self.model.config.tail:
            return photo_views(looks, ids)
        rows, grids = looks[0].rows(ids), [features.grid for features in looks]
        return Views([grid.view(rows) if isinstance(grid, Rows) else grid[rows] for grid in grids])

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
    widths = _widths(backbone)
    each = PretrainedConfig.embedding  # numbers of a share
    config = PretrainedConfig(
        backbone.name, backbone.vector_width, sentence_encoders, width, each * len(widths), eyes=widths
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PretrainedPair(PretrainedEncoder(config), backbone)


def _widths(backbone: Backbone) -> tuple[int, ...]:
    """How many numbers the layer of each eye takes: `colours`, which come last, go with those before them."""
    widths = backbone.vector_widths
    return (*widths[:-2], sum(widths[-2:])) if eyes(backbone.name)[-1] == COLOURS else widths


def with_tail(pair: PretrainedPair) -> PretrainedPair:
    """The pair with the last layers of its backbone as a part of what is trained; its vectors are as they were.

    Raises:
        InputError: the vector of this backbone is not the mean of its grid, which is what the last layers make.
    """
    whole = pair.backbone
    if not vector_is_mean(whole.name):
        raise InputError(
            f"The vector of {whole.name} is not the mean of its grid, so its last layers cannot be trained for the "
            "pretrained towers; leave pretrained_tail_epochs at 0."
        )
    model = PretrainedEncoder(replace(pair.model.config, backbone=stem_name(whole.name), tail=whole.name))
    tail = {f"tail.{name}": weight for name, weight in tail_of(whole).state_dict().items()}
    model.load_state_dict(tail | pair.model.state_dict())
    return PretrainedPair(model, stem_of(whole))


class ViewData(PairData):
    """Photos as their views, float32 (N, V, D) or (N, V, R, C), and texts as sentence vectors, float32 (M, W)."""

    def batch_photos(self, rows: np.ndarray, settings: EncoderSettings, device: torch.device = CPU) -> Tensor:
        """One view of each photo, drawn at random: (B, 1, D) or (B, 1, R, C)."""
        view = torch.randint(self.photos.shape[1], (len(rows),)).numpy()
        return to_device(self.photos[rows, view][:, None], device)

    def batch_texts(self, rows: np.ndarray) -> Tensor:
        """Texts `rows`: (B, W)."""
        return torch.from_numpy(self.texts[rows])


def view_data(
    pair: PretrainedPair, photos: Sequence[Photo], looks: Sequence[Features], sentences: np.ndarray
) -> ViewData:
    """Captioned photos as training or validation data.

    Args:
        pair: who is to see them.
        photos: with as many captions, one after the other, as `sentences` has rows.
        looks: features of the photos, and of their mirror images if there are any.
        sentences: (M, W) vectors of the captions.
    """
    owners = np.repeat(np.arange(len(photos)), [len(photo.captions) for photo in photos])
    views = pair.views(looks, [photo.id for photo in photos])
    return ViewData(views, np.asarray(sentences), np.arange(len(photos)), owners, by_class=False)


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
