"""Checks of an album: against counting by hand, with an album whose answers are known."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers.data.manifest import Photo
from helpers.files import InputError
from helpers.search.checks import first_scores, label_sheet, precision_at_5, times_found, told_apart
from helpers.search.engine import Hit


class KnownAlbum:
    """Answers a text with photos in an order that the test knows; the last stands behind the first as its copy."""

    def __init__(self, order: dict[str, list[str]]) -> None:
        self.order = order
        self.photos = {one: Photo(one, Path(one), (), "album") for one in next(iter(order.values()))}

    def search(self, text: str, k: int) -> list[Hit]:
        *ids, copy = self.order[text]
        hits = [Hit(self.photos[one], 1 - place / 10) for place, one in enumerate(ids)]
        return [Hit(hits[0].photo, hits[0].score, (self.photos[copy],)), *hits[1:]][:k]


def test_told_apart_is_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.integers(2, 12, 30).astype(float), rng.integers(0, 8, 20).astype(float)  # with ties
    expected = roc_auc_score([1] * 30 + [0] * 20, np.concatenate([high, low]))
    assert told_apart(high, low) == pytest.approx(expected)


def test_precision_counts_labelled_photos_only_copies_too() -> None:
    order = ["d1", "x", "c1", "d2", "d3", "c2", "c3", "d4"]
    album = KnownAlbum({"a dog": order, "an owl": order})
    labels = {"d1": "dog", "d2": "dog", "d3": "dog", "d4": "dog", "c1": "owl", "c2": "owl", "c3": "owl"}
    # Labelled photos in order: d1 and its copy d4, c1, d2, d3.
    assert precision_at_5(album, labels) == {"dog": pytest.approx(3 / 4), "owl": pytest.approx(1 / 3)}
    assert precision_at_5(album, labels | {"c3": "dog"}) == {"dog": pytest.approx(4 / 5)}  # two owls are too few
    gone = dict.fromkeys(("old1", "old2", "old3"), "boat") | {"old4": "dog"}  # the album no longer holds them
    assert precision_at_5(album, labels | gone) == precision_at_5(album, labels)


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_precision_by_chance_is_the_share_of_the_photos_that_carry_the_label(count: int) -> None:
    ids = [f"{number:02d}" for number in range(12)]
    labels = dict.fromkeys(ids, "?") | dict.fromkeys(ids[:count], "dog")
    rng = np.random.default_rng(0)
    orders = [rng.permutation(ids).tolist() for _ in range(1000)]
    found = [precision_at_5(KnownAlbum({"a dog": order, "a ?": order}), labels)["dog"] for order in orders]
    assert np.mean(found) == pytest.approx(count / 12, abs=4 * np.std(found) / len(found) ** 0.5)


def test_photos_that_come_up_for_everything_are_counted() -> None:
    ids = [f"{number:02d}" for number in range(14)]
    album = KnownAlbum({"one": ids, "two": ["13", *ids[:13]]})
    found = times_found(album, ["one", "two"])
    assert found == Counter(dict.fromkeys(ids, 0)) + Counter(ids[:10]) + Counter(["13", *ids[:9]]) and found["12"] == 0
    assert first_scores(album, ["one", "two"]).tolist() == [1.0, 1.0]


def test_a_sheet_is_written_once_and_read_when_filled(tmp_path: Path) -> None:
    path = tmp_path / "fifty.csv"
    assert label_sheet(path, ["a, b.jpg", 'c"d.jpg', "ü.jpg"]) == {}
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"a, b.jpg",', '"a, b.jpg", Dog ').replace("ü.jpg,", "ü.jpg,boat"), encoding="utf-8")
    assert label_sheet(path, ["others"]) == {"a, b.jpg": "dog", "ü.jpg": "boat"}
    path.write_text("picture,label\n1,dog\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks a column photo or label"):
        label_sheet(path, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sheet_is_read_as_a_spreadsheet_saves_it(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    path = tmp_path / "fifty.csv"
    rows = ["photo|label", '"a, b; c.jpg"|Dog', "ü.jpg|Hündin", "empty.jpg|", "é.jpg|boat"]
    path.write_bytes("".join(row.replace("|", delimiter) + end for row in rows).encode(encoding))
    assert label_sheet(path, []) == {"a, b; c.jpg": "dog", "ü.jpg": "hündin", "é.jpg": "boat"}


@pytest.mark.parametrize(
    "content", [b"", b"1,dog\n", b"photo,label\n\x81,dog\n", "photo,label\n1,dog\n".encode("utf-16")]
)
def test_what_is_no_sheet_stays_and_nobody_is_told_to_delete_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fifty.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="save it as CSV with commas, in UTF-8") as caught:
        label_sheet(path, [])
    assert "delete" not in str(caught.value) and path.read_bytes() == content
