"""Fusion: a photo, a text, or both together become one vector of 128 numbers.

What a frozen CNN sees in the photo and what a frozen sentence encoder reads in the text pass through a layer each,
are laid side by side, and a last layer makes one vector of them. Where a side is missing, a learned vector stands in
its place, so that a photo without a text, and a text without a photo, live in the same space as both together.
Joining two kinds of input by concatenation: Ngiam et al., "Multimodal Deep Learning" (2011), which also trains with
one of them left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.artefacts import Share, Size
from helpers.devices import device_of, to_device
from helpers.encoder_names import USE
from helpers.encoders.sentence_encoder import WIDTH, sentence_vectors
from helpers.features.backbones import Backbone, load_backbone
from helpers.files import InputError
from helpers.training.checkpoints import load_trained, save_trained

WEIGHTS = "weights.pt"
MADE_BY = "notebook 04b"


@dataclass(frozen=True)
class FusionConfig:
    """All that is needed to build the model again, and to see photos as it was trained on."""

    backbone: str
    photo_width: Size  # numbers the backbone gives for a photo
    sentence_encoders: str = USE  # names for `sentence_vectors`
    text_width: Size = WIDTH  # numbers they give for a text
    side: Size = 256  # numbers that each side is brought to
    embedding: Size = 128
    photo_dropout: Share = 0.7  # of what the backbone saw; texts vary by themselves, five to a photo
    dropout: Share = 0.1  # everywhere else


class Fusion(nn.Module):
    """Photo vectors, sentence vectors, and which of them are there -> unit vectors."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        # What training photos have on average, and how much they differ; set once, see `new_fusion`.
        self.register_buffer("mean", torch.zeros(config.photo_width))
        self.register_buffer("deviation", torch.ones(config.photo_width))
        self.photo = nn.Linear(config.photo_width, config.side)
        self.text = nn.Linear(config.text_width, config.side)
        self.no_photo = nn.Parameter(torch.zeros(config.side))
        self.no_text = nn.Parameter(torch.zeros(config.side))
        self.photo_dropout = nn.Dropout(config.photo_dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.join = nn.Linear(2 * config.side, config.embedding)

    def forward(self, photos: Tensor, texts: Tensor, has_photo: Tensor, has_text: Tensor) -> Tensor:
        """Photos (B, D), texts (B, W), bool flags (B,) -> (B, embedding), L2-normalised.

        Where a flag is False, the row of that side may hold any numbers: they do not count.
        """
        photo = F.relu(self.photo(self.photo_dropout((photos - self.mean) / self.deviation)))  # (B, side)
        text = F.relu(self.text(self.dropout(texts)))  # (B, side)
        photo = torch.where(has_photo[:, None], photo, self.no_photo)
        text = torch.where(has_text[:, None], text, self.no_text)
        joined = self.join(self.dropout(torch.cat([photo, text], dim=1)))  # (B, 2 * side) -> (B, embedding)
        return F.normalize(joined, dim=1)


class FusionEncoder(NamedTuple):
    """A trained model with what it needs to see photos and read texts."""

    model: Fusion
    backbone: nn.Module | None = None  # looks at photos; None: the one in PyTorch, loaded when a photo comes

    @property
    def config(self) -> FusionConfig:
        return self.model.config

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that `embed` takes."""
        return (self.backbone or _backbone(self.config.backbone)).photo_size

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """Photos without a text: uint8 (N, S, S, 3) -> float32 unit vectors (N, embedding)."""
        return self.embed(pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts without a photo -> float32 unit vectors (N, embedding)."""
        return self.embed(texts=texts)

    def embed(
        self, photos: np.ndarray | None = None, texts: Sequence[str] | np.ndarray | None = None, size: int = 1024
    ) -> np.ndarray:
        """Photos, texts, or photos with a text each -> float32 unit vectors (N, embedding).

        Args:
            photos: uint8 (N, S, S, 3) as `helpers.data.images.load_pixels` gives them, or their vectors from the
                backbone, float32 (N, D); None: texts only.
            texts: N texts, or their vectors from the sentence encoders, float32 (N, W); None: photos only.
            size: rows at a time.

        Raises:
            InputError: neither side is given, their numbers differ, or the vectors are of another backbone.
        """
        if photos is None and texts is None:
            raise InputError("There is nothing to embed; give photos, texts, or both.")
        if photos is not None and texts is not None and len(photos) != len(texts):
            raise InputError(f"{len(photos):,} photos and {len(texts):,} texts do not pair; give one text a photo.")
        photos = self._photo_vectors(photos)
        if texts is not None and not isinstance(texts, np.ndarray):
            texts = sentence_vectors(texts, self.config.sentence_encoders)
        count = len(photos if photos is not None else texts)
        parts = [
            embed_rows(self.model, *(None if side is None else side[start : start + size] for side in (photos, texts)))
            for start in range(0, count, size)
        ]
        return np.concatenate(parts)

    def _photo_vectors(self, photos: np.ndarray | None) -> np.ndarray | None:
        if photos is not None and photos.dtype == np.uint8:
            backbone = self.backbone or _backbone(self.config.backbone)
            with torch.inference_mode():
                parts = torch.from_numpy(photos.copy()).split(32)
                photos = torch.cat([backbone(to_device(part, backbone))[0] for part in parts]).cpu().numpy()
        if photos is not None and photos.shape[1] != self.config.photo_width:
            raise InputError(
                f"The photo vectors have {photos.shape[1]:,} numbers and the model takes the "
                f"{self.config.photo_width:,} of {self.config.backbone}; run {MADE_BY} again."
            )
        return photos


@cache
def _backbone(name: str) -> Backbone:
    return load_backbone(name)


@torch.inference_mode()
def embed_rows(model: Fusion, photos: np.ndarray | None, texts: np.ndarray | None) -> np.ndarray:
    """Photo vectors (B, D) and sentence vectors (B, W), one of which may be None -> (B, embedding)."""
    device = device_of(model.eval())
    count = len(photos if photos is not None else texts)

    def tensors(rows: np.ndarray | None, width: int) -> tuple[Tensor, Tensor]:
        if rows is None:
            return torch.zeros(count, width, device=device), torch.zeros(count, dtype=torch.bool, device=device)
        return to_device(np.array(rows, np.float32), device), torch.ones(count, dtype=torch.bool, device=device)

    photo, has_photo = tensors(photos, model.config.photo_width)
    text, has_text = tensors(texts, model.config.text_width)
    return model(photo, text, has_photo, has_text).cpu().numpy()


def new_fusion(config: FusionConfig, vectors: np.ndarray, seed: int) -> FusionEncoder:
    """An untrained encoder whose weights depend on `seed` alone, its scale set by training photos' `vectors` (N, D)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Fusion(config)
    model.mean.copy_(torch.from_numpy(vectors.mean(axis=0)))
    model.deviation.copy_(torch.from_numpy(vectors.std(axis=0) + 1e-3))  # a number that never changes divides by little
    return FusionEncoder(model.eval())


def save_fusion(folder: Path, encoder: FusionEncoder) -> None:
    """Write config and weights into `folder`, each atomically, the weights last."""
    save_trained(folder / WEIGHTS, encoder.model)


def load_fusion(folder: Path) -> FusionEncoder:
    """The encoder saved in `folder`, ready to embed.

    Raises:
        InputError: a file is missing, damaged, or belongs to another model.
    """
    return FusionEncoder(load_trained(folder / WEIGHTS, FusionConfig, Fusion, MADE_BY, "a usable fusion model"))
