"""CLIP, to compare with: towers that learned from 400 million photos and texts of the web.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021). Its weights come from
the Hugging Face hub; it has the interface of the pairs trained here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.encoders.dual_encoder import in_batches
from helpers.environment import prepare_torchvision
from helpers.files import InputError

NAME = "openai/clip-vit-base-patch32"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's photos, values 0..1


@dataclass(frozen=True)
class ClipPair:
    """CLIP's two towers and its tokenizer."""

    model: Any
    tokenizer: Any

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photos that `embed_photos` takes."""
        return self.model.config.vision_config.image_size

    def encode_photo(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> unit vectors (B, D)."""
        x = (pixels / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
        pooled = self.model.vision_model(pixel_values=x.permute(0, 3, 1, 2)).pooler_output  # (B, H)
        return torch.nn.functional.normalize(self.model.visual_projection(pooled), dim=1)

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3) -> float32 unit vectors (N, D)."""
        return in_batches(self.model, self.encode_photo, pixels, 32)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, D)."""
        parts = []
        for start in range(0, len(texts), 64):
            batch = list(texts[start : start + 64])
            tokens = self.tokenizer(batch, padding=True, truncation=True, max_length=77, return_tensors="pt")
            projected = self.model.text_projection(self.model.text_model(**tokens).pooler_output)  # (B, D)
            parts.append(torch.nn.functional.normalize(projected, dim=1).numpy())
        return np.concatenate(parts)


def load_clip(name: str = NAME) -> ClipPair:
    """CLIP by its name on the Hugging Face hub, or from a folder.

    Raises:
        InputError: its weights cannot be had.
    """
    prepare_torchvision()  # transformers imports torchvision
    from transformers import AutoTokenizer, CLIPModel

    try:
        return ClipPair(CLIPModel.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name))
    except Exception as error:  # each version of the library has its own kinds
        raise InputError(
            f"CLIP ({name}) could not be loaded ({type(error).__name__}): connect to the Hugging Face hub once, or "
            "leave the comparison out: compare_with_clip=False."
        ) from error
