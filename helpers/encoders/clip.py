"""CLIP and its kin: dual encoders that others trained on millions of photos and texts of the web.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021); Zhai et al., "Sigmoid
Loss for Language Image Pre-Training" (SigLIP, 2023). Any model of the Hugging Face hub that transformers loads as
`AutoModel` with one vector a photo and one a text will do. They have the interface of the pairs trained here, and
`square` brings a photo to the size and crop that the model was trained with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers.encoders.dual_encoder import in_batches
from helpers.files import InputError
from helpers.hugging_face import Preparation, TakesSquares, load_pretrained
from helpers.training.checkpoints import fingerprint_run

NAME = "openai/clip-vit-base-patch32"
BATCH = 16


class ClipTowers(nn.Module):
    """The two towers of a model of transformers, from bytes and token ids to unit vectors."""

    def __init__(self, model: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.model, self.preparation = model, preparation

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) -> (B, D), L2-normalised."""
        return _unit(self.model.get_image_features(pixel_values=self.preparation(pixels)))

    def encode_text(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """int64 (B, T), and 1 where there is a token, 0 where padding -> (B, D), L2-normalised."""
        masked = {} if mask is None else {"attention_mask": mask}
        return _unit(self.model.get_text_features(input_ids=tokens, **masked))


def _unit(found: Any) -> Tensor:
    vectors = found if isinstance(found, Tensor) else found.pooler_output  # (B, D)
    return nn.functional.normalize(vectors, dim=1)


@dataclass(frozen=True)
class ClipPair(TakesSquares):
    """Two towers, in PyTorch or on OpenVINO, with what prepares photos and texts for them.

    Attributes:
        name: on the Hugging Face hub, or the folder it came from.
        model: with `encode_image` and `encode_text` as of `ClipTowers`.
        preparation: of photos.
        tokenizer: turns texts into ids.
        text_length: T, tokens of a text at most.
        pads_always: whether texts are padded to that length, since the model was trained so (SigLIP).
        fingerprint: twelve hex digits that name the weights.
    """

    name: str
    model: nn.Module
    preparation: Preparation
    tokenizer: Any
    text_length: int
    pads_always: bool
    fingerprint: str

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, ...]:
        """Texts -> ids int64 (N, T), and, unless the model does without, which of them are no padding."""
        found = self.tokenizer(
            list(texts),
            padding="max_length" if self.pads_always else True,
            truncation=True,
            max_length=self.text_length,
            return_tensors="pt",
        )
        return tuple(found[name] for name in ("input_ids", "attention_mask") if name in found)

    def embed_photos(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, S, S, 3), each from `square` -> float32 unit vectors (N, D)."""
        return in_batches(self.model, self.model.encode_image, pixels, BATCH)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 unit vectors (N, D).

        Raises:
            InputError: a text is blank.
        """
        if not all(text.strip() for text in texts):
            raise InputError("A text to search with is blank; give at least one word.")
        starts = range(0, len(texts), BATCH)
        return np.concatenate(
            [self.model.encode_text(*self.tokens(texts[start : start + BATCH])).numpy() for start in starts]
        )


def load_clip(name: str = NAME, instead: str = "leave the comparison out: compare_with_clip=False") -> ClipPair:
    """A dual encoder by its name on the Hugging Face hub, or from a folder.

    Args:
        name: such as `openai/clip-vit-base-patch32` or `google/siglip-base-patch16-224`.
        instead: what a user can do without it, for the message.

    Raises:
        InputError: its weights cannot be had, or it is no dual encoder that takes square photos.
    """
    classes = ("AutoTokenizer", "AutoImageProcessor", "AutoModel")
    tokenizer, image_processor, model = load_pretrained(name, classes, "The dual encoder", instead)
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise InputError(
            f"{name} ({type(model).__name__}) is no dual encoder: it has no vector for a photo and for a text; "
            f"take one such as {NAME}, or {instead}."
        )
    preparation = Preparation(image_processor, name)
    towers = ClipTowers(model, preparation).eval()
    return ClipPair(
        name,
        towers,
        preparation,
        tokenizer,
        text_length=model.config.text_config.max_position_embeddings,
        pads_always="siglip" in model.config.model_type,
        fingerprint=fingerprint_run(**towers.state_dict()),
    )
