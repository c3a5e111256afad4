from itertools import product

import numpy as np
import pytest
import torch

from helpers.features.backbones import load_backbone
from helpers.features.colours import LEVELS, ColourShares
from helpers.files import InputError
from helpers.graphs import compile_graph, convert
from helpers.profiles import get_profile

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colour(red: int, green: int, blue: int) -> int:
    """Which of the 64 has these levels."""
    return (red * LEVELS + green) * LEVELS + blue


def test_each_value_counts_for_the_two_levels_beside_it() -> None:
    pixels = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    found = ColourShares()(pixels).numpy()
    expected = np.zeros((2, 64, 4, 5))
    for photo, y, x in product(range(2), range(4), range(5)):
        places = pixels[photo, :, y, x].double().numpy() * (LEVELS - 1)
        for corner in product((0, 1), repeat=3):  # of the cube of levels in which the colour lies
            levels = np.floor(places).astype(int) + corner
            share = np.prod([place % 1 if up else 1 - place % 1 for place, up in zip(places, corner, strict=True)])
            expected[photo, colour(*levels), y, x] += share
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_levels_themselves_are_one_colour_each() -> None:
    levels = torch.linspace(0, 1, LEVELS)
    pixels = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 64, 1)
    np.testing.assert_allclose(ColourShares()(pixels)[0, :, :, 0], np.eye(64), atol=1e-6)


@pytest.mark.parametrize("beside", ["efficientnet_lite0", "vgg16"])
def test_regions_have_the_colours_that_lie_in_them(beside: str) -> None:
    eye = load_backbone(f"{beside}+colours", random_seed=0)
    size = load_backbone(beside, random_seed=0).photo_size
    assert eye.photo_size == size  # that of the other
    photo = torch.full((1, size, size, 3), 255, dtype=torch.uint8)
    photo[:, : size // 7 * 2, : size // 7 * 3] = torch.tensor(RED, dtype=torch.uint8)
    photo[:, :, size // 7 * 5 :] = torch.tensor(BLUE, dtype=torch.uint8)
    with torch.inference_mode():
        vector, grid = eye(photo)
    shares = (grid[0, :, -64:].view(7, 7, 64) / 8) ** 2
    assert vector.shape[1] == eye.vector_width and grid.shape[1:] == eye.grid_shape
    for row, column, level in ((0, 0, (3, 0, 0)), (6, 0, (3, 3, 3)), (0, 6, (0, 0, 3)), (6, 6, (0, 0, 3))):
        assert shares[row, column, colour(*level)] == pytest.approx(1, abs=1e-5)
        assert shares[row, column].sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vector[:, -64:], grid[:, :, -64:].mean(1), rtol=1e-5)


@pytest.mark.parametrize("size", [224, 320, 336, 378])  # of which 32 divides two; vision transformers take the others
def test_it_sees_photos_of_any_size_to_their_edges(size: int) -> None:
    eye = load_backbone("colours")
    photo = torch.full((1, size, size, 3), 255, dtype=torch.uint8)
    at_the_right, at_the_bottom = photo.clone(), photo.clone()
    at_the_right[:, :, -2:], at_the_bottom[:, -2:] = 0, 0
    with torch.inference_mode():
        seen, right, bottom = (eye(one)[1][0].view(7, 7, 64) for one in (photo, at_the_right, at_the_bottom))
    assert (seen != right).any(2).nonzero()[:, 1].unique().tolist() == [6]
    assert (seen != bottom).any(2).nonzero()[:, 0].unique().tolist() == [6]
    model = convert(eye, eye.forward, [photo])
    grid = compile_graph(model, arithmetic="f32")(at_the_right.numpy())[1]
    np.testing.assert_allclose(grid.reshape(7, 7, 64), right, atol=1e-4)


def test_a_network_hardly_minds_another_colour_and_this_eye_does() -> None:
    eye = load_backbone("efficientnet_lite0+colours")
    rng = np.random.default_rng(1)
    photo = np.kron(rng.integers(0, 256, (1, 10, 10, 3)), np.ones((1, 32, 32, 1))).astype(np.uint8)
    with torch.inference_mode():
        seen, other = (eye(torch.from_numpy(pixels.copy()))[0][0] for pixels in (photo, photo[..., [1, 0, 2]]))
    like = [
        torch.cosine_similarity(a, b, dim=0)
        for a, b in zip(seen.split((1280, 64)), other.split((1280, 64)), strict=True)
    ]
    assert like[0] > like[1]


def test_colours_alone_are_no_backbone() -> None:
    with pytest.raises(InputError, match="vector_backbone cannot be 'colours': it should be 'vgg16', "):
        get_profile("sample", vector_backbone="colours")
    assert get_profile("sample", backbone="colours + resnet50").grid_backbone == "resnet50+colours"
    with pytest.raises(InputError, match="different backbones"):
        get_profile("sample", backbone="vgg16+colours+colours")
