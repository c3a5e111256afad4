"""Backbones by name, for whoever has to know them before PyTorch is there, which takes seconds to import.

    vgg16                                   one of BUILT_IN
    openai/clip-vit-base-patch16            a vision transformer of the Hugging Face hub, or a folder with one
    efficientnet_lite0+efficientnet_lite2   several that look side by side
    efficientnet_lite0+colours              one, and beside it what colours each region has
    vgg16_stem                              the frozen first part of one of BUILT_IN

`features/backbones.py` makes the networks.
"""

from typing import NamedTuple

from helpers.environment import located
from helpers.files import there

SEPARATOR = "+"
COLOURS = "colours"  # takes photos of the size that those beside it take
_STEM = "_stem"
Shape = tuple[int, int]  # regions, channels


class Looks(NamedTuple):
    """How much a backbone takes and gives."""

    photo_size: int  # pixels a side
    vector: int  # numbers
    grid: Shape
    stem: Shape  # of its stem's grid


NETWORKS = {
    "vgg16": Looks(224, 4096, (49, 512), (196, 512)),
    "resnet50": Looks(224, 2048, (49, 2048), (196, 1024)),
    "efficientnet_lite0": Looks(320, 1280, (49, 1280), (400, 112)),
    "efficientnet_lite1": Looks(320, 1280, (49, 1280), (400, 112)),
    "efficientnet_lite2": Looks(320, 1280, (49, 1280), (400, 120)),
}
BUILT_IN = NETWORKS | {COLOURS: Looks(320, 64, (49, 64), (400, 64))}


def eyes(name: str) -> list[str]:
    """The names of the backbones that look side by side as `name`, `colours` last; most often it is one.

    >>> eyes("vgg16+resnet50"), eyes("colours+vgg16")
    (['vgg16', 'resnet50'], ['vgg16', 'colours'])
    """
    if on_hub(name) and there(located(name).is_dir):  # whose path may have the separator in it
        return [name]
    return sorted((part.strip() for part in name.split(SEPARATOR)), key=lambda part: whole_name(part) == COLOURS)


def stem_name(name: str) -> str:
    """The name of the stem of a backbone.

    >>> stem_name("efficientnet_lite0+efficientnet_lite2")
    'efficientnet_lite0_stem+efficientnet_lite2_stem'
    """
    return SEPARATOR.join(part + _STEM for part in eyes(name))


def is_stem(name: str) -> bool:
    """Whether this is the name of a stem."""
    return name.endswith(_STEM)


def whole_name(name: str) -> str:
    """The name of the one backbone that this is, or is the stem of."""
    return name.removesuffix(_STEM)


def on_hub(name: str) -> bool:
    """Whether the one backbone of this name is a vision transformer of the Hugging Face hub, or in a folder."""
    return "/" in name or "\\" in name


def vector_is_mean(name: str) -> bool:
    """Whether the vector that backbone `name` gives is the mean of its grid."""
    return all(part != "vgg16" and not on_hub(part) for part in eyes(name))
