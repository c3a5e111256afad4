"""Models of the Hugging Face hub: loaded in one place, one sentence where that fails, and how they want their photos.

A name is one of the hub, such as `openai/clip-vit-base-patch32`, or a folder that `save_pretrained` wrote. What was
downloaded once is read from the hub's cache (`HF_HOME`) afterwards.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from helpers.downloads import from_hub
from helpers.environment import prepare_torchvision
from helpers.files import InputError


def load_pretrained(name: str, classes: Sequence[str], what: str, instead: str, part: str = "") -> list[Any]:
    """What each of transformers' `classes`, such as "AutoModel", makes of `name`; models in float32, to be used as is.

    A model has all its weights from there, none drawn at random: a pooler that came without, as of a model that was
    saved for another task, is None. Code that comes with a model is not run.

    Args:
        name: of the hub, or a folder.
        classes: names of classes of transformers, those that need least first.
        what: what it is loaded as, for the message.
        instead: what a user can do without it, for the message.
        part: the name of the only part that is used, in models that have one of this name: it alone must be whole.

    Raises:
        InputError: it cannot be had, or transformers cannot make such a thing of it with what was saved.
    """
    prepare_torchvision()  # transformers imports torchvision
    import transformers

    transformers.utils.logging.disable_progress_bar()  # for weights that load in a second
    transformers.utils.logging.set_verbosity_error()  # it remarks on settings that change nothing here

    def load_one(kind: str, only_cached: bool) -> Any:
        options = {"local_files_only": only_cached, "trust_remote_code": False}
        if not kind.startswith("AutoModel"):
            return getattr(transformers, kind).from_pretrained(name, **options)
        model, report = getattr(transformers, kind).from_pretrained(name, output_loading_info=True, **options)
        lacking = _without_poolers(model, report["missing_keys"])
        if hasattr(model, part):
            lacking = [key for key in lacking if key.startswith(f"{part}.")]
        if lacking:
            raise InputError(
                f"{what} {name} comes without {len(lacking):,} of the weights of a {type(model).__name__}, such as "
                f"{lacking[0]}; take one that was saved as such a model, or {instead}."
            )
        return model.eval().float()

    def load(only_cached: bool) -> list[Any]:
        try:
            return [load_one(kind, only_cached) for kind in classes]
        except ValueError as error:
            if "trust_remote_code" not in str(error):
                raise
            raise InputError(
                f"{what} {name} brings code of its own, which is not run here; take another model, or {instead}."
            ) from error

    return from_hub(name, load, f"{what} {name}", instead)


def _without_poolers(model: nn.Module, missing: Collection[str]) -> list[str]:
    """Take those poolers off `model` that have `missing` weights; returns the names of all other missing weights.

    A pooler sums up what stands in all the places; models for single words, places or classes are saved without. Models
    of transformers do without one that is None, and one that is asked for all the same is no number, not any number.
    """
    poolers = {key.rpartition("pooler.")[0] for key in missing if "pooler" in key.split(".")}
    for owner in poolers:
        model.get_submodule(owner.rstrip(".")).pooler = None
    return sorted(key for key in missing if "pooler" not in key.split("."))


class Preparation(nn.Module):
    """What a model's own image processor does to photos, in two steps: to a square of bytes, then to numbers.

    The first step (size, crop, interpolation) is the processor's own code. The second is a layer, so that it can be the
    first one of a graph; what it does is read off a black and a white photo: each channel is scaled and shifted.

    Attributes:
        image_processor: of transformers.
        photo_size: S, pixels a side of the square.

    Raises:
        InputError: the processor makes no squares of photos, but strips, tiles or rows of patches; the message names
            the model, `name`.
    """

    def __init__(self, image_processor: Any, name: str) -> None:
        super().__init__()
        extremes = [Image.new("RGB", (512, 512), colour) for colour in ("black", "white")]
        try:
            found = image_processor(images=extremes, return_tensors="pt").get("pixel_values")
            shape = tuple(found.shape)
        except Exception as error:  # each kind of processor has its own ways, names, and wishes for more than photos
            kinds = f"{type(image_processor).__name__}: {type(error).__name__}"
            raise InputError(f"{name} does not look at square photos alone ({kinds}); take another model.") from error
        if len(shape) != 4 or shape[:2] != (2, 3) or shape[2] != shape[3]:
            raise InputError(f"{name} does not look at square photos: of two it makes {shape}; take another model.")
        black, white = found  # (3, S, S) each
        self.image_processor, self.photo_size = image_processor, shape[2]
        shift, brightest = (values.double().mean((1, 2)) for values in (black, white))
        self.register_buffer("shift", shift.float().view(3, 1, 1))
        self.register_buffer("scale", ((brightest - shift) / 255).float().view(3, 1, 1))

    def square(self, photo: Image.Image) -> np.ndarray:
        """An RGB photo -> uint8 (S, S, 3)."""
        found = self.image_processor(images=photo, do_rescale=False, do_normalize=False, return_tensors="pt")
        return found["pixel_values"][0].permute(1, 2, 0).to(torch.uint8).numpy()

    def forward(self, pixels: Tensor) -> Tensor:
        """Squares uint8 (B, S, S, 3) -> what the model takes, (B, 3, S, S)."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift


class TakesSquares:
    """What models share that look at photos through a `Preparation`."""

    preparation: Preparation

    @property
    def photo_size(self) -> int:
        """S, pixels a side of the squares that the model takes."""
        return self.preparation.photo_size

    def square(self, photo: Image.Image) -> np.ndarray:
        """An RGB photo as the uint8 square (S, S, 3) that the model takes."""
        return self.preparation.square(photo)
