"""Groups of copies against NumPy's correlation, pair by pair, and on pages that have a letterhead in common."""

import io

import numpy as np
from PIL import Image, ImageDraw

from helpers.data.images import resize_photo
from helpers.search.copies import ALIKE, DETAILS_ALIKE, Originals, normalised, thumbnail

RNG = np.random.default_rng(0)


def less_neighbours(squares: np.ndarray) -> np.ndarray:
    """Squares (N, 16, 16) less the mean of each pixel and those above and below it."""
    padded = np.pad(squares, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return squares - np.mean([padded[:, at : at + 16] for at in range(3)], axis=0)


def test_a_photo_joins_the_first_group_that_it_correlates_with() -> None:
    different = RNG.integers(0, 256, (1500, 256), dtype=np.uint8)  # more than there is room for at first
    darker = different[::3] // 2
    noisy = (different[::5].astype(float) + RNG.normal(0, 60, (300, 256))).clip(0, 255).astype(np.uint8)
    thumbnails = np.concatenate([different, darker, noisy])[RNG.permutation(2300)]
    originals = Originals({"kept": thumbnails[0]})
    groups = [originals.group(str(row), one) for row, one in enumerate(thumbnails)]

    begun, expected = {"kept": 0}, []
    correlation = np.corrcoef(thumbnails.astype(float))
    fine = less_neighbours(less_neighbours(thumbnails.reshape(-1, 16, 16).astype(float)).transpose(0, 2, 1))
    fine = fine.reshape(2300, 256) / np.linalg.norm(fine, axis=(1, 2))[:, None]
    both = (correlation >= ALIKE) & (fine @ fine.T >= DETAILS_ALIKE)
    for row in range(len(thumbnails)):
        joined = [name for name, first in begun.items() if both[row, first]]
        begun |= {} if joined else {str(row): row}
        expected.append(max(joined, key=lambda name: correlation[row, begun[name]]) if joined else str(row))
    assert groups == expected
    assert 1500 < len(set(groups)) < 2300  # the darker ones are copies, the noisy ones are not


def page(words: str) -> Image.Image:
    """A page of the firm's paper, with a line of other words each time."""
    sheet = Image.new("RGB", (620, 877), "white")
    drawing = ImageDraw.Draw(sheet)
    drawing.rectangle((0, 0, 620, 120), fill=(150, 20, 30))
    for line in range(12):
        drawing.text((60, 180 + 50 * line), words[line:] + words[:line], fill="black", font_size=22)
    return sheet


def numbered(number: int) -> Image.Image:
    """A page that is empty but for its number."""
    sheet = Image.new("RGB", (620, 877), "white")
    ImageDraw.Draw(sheet).text((300, 825), str(number), fill="black", font_size=13)
    return sheet


def test_pages_under_one_letterhead_are_no_copies_and_their_copies_are() -> None:
    def small(photo: Image.Image) -> np.ndarray:
        return thumbnail(resize_photo(photo, 224))

    first, second = page("Dear Mary, your order"), page("ill will")
    one, other = normalised(np.stack([small(first), small(second)]))
    assert one @ other > ALIKE  # which says nothing here
    originals = Originals({"first": small(first)})
    assert originals.group("second", small(second)) == "second"
    for name, photo in (("first", first), ("second", second)):
        saved = io.BytesIO()
        photo.resize((310, 438)).save(saved, "JPEG", quality=60)
        for copy in (Image.open(saved), photo.point(lambda level: int(0.9 * level)), photo.convert("L")):
            assert originals.group("copy", small(copy)) == name
    assert Originals({"101": small(numbered(101))}).group("102", small(numbered(102))) == "102"  # too faint to tell
