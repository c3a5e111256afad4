"""Rows on disk, compared with the same array in memory."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from helpers.features.rows import Rows, Views, told_by
from helpers.files import InputError


@pytest.fixture
def array(tmp_path: Path) -> np.ndarray:
    array = np.random.default_rng(0).random((40, 4, 3)).astype(np.float16)
    np.save(tmp_path / "a.npy", array)
    return array


KEYS = [3, -1, slice(2, 9), slice(None), slice(5, 5), [7, 1, 2, 3, 7], np.array([0, 39])]
KEYS += [(slice(1, 4), [2, 0]), (5, 1), (0, ..., 2)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_they_are_what_the_array_is(tmp_path: Path, array: np.ndarray, key: object) -> None:
    rows = Rows(tmp_path / "a.npy", "this test")
    assert (len(rows), rows.shape, rows.dtype, rows.nbytes) == (40, array.shape, array.dtype, array.nbytes)
    np.testing.assert_array_equal(rows[key], array[key])
    chosen = np.array([9, 3, 4, 5, 30, 0, 39])
    np.testing.assert_array_equal(rows.view(chosen)[2:6], array[chosen][2:6])
    np.testing.assert_array_equal(np.asarray(rows.view(chosen).view([1, 0])), array[[3, 9]])


def test_views_are_read_side_by_side(tmp_path: Path, array: np.ndarray) -> None:
    rows = Rows(tmp_path / "a.npy", "this test")
    order = np.array([9, 3, 4, 30])
    views = Views([rows.view(order), rows.view(order[::-1])])
    whole = np.stack([array[order], array[order[::-1]]], axis=1).astype(np.float32)
    assert len(views) == 4 and views.shape == whole.shape
    one_view_each = np.array([3, 0, 1]), np.array([0, 1, 0])
    for key in (slice(1, 3), slice(None), np.array([3, 0]), one_view_each, (np.array([2]), np.array([1]))):
        assert views[key].dtype == np.float32
        np.testing.assert_array_equal(views[key], whole[key])


def test_what_tells_rows_from_others(tmp_path: Path) -> None:
    whole = np.arange(600.0).reshape(300, 2)
    changed = whole.copy()
    changed[1] += 1  # not one of the hundred that are read of a file
    for name, array in {"whole": whole, "changed": changed}.items():
        np.save(tmp_path / f"{name}.npy", array)

    def of_file(name: str, photos: str) -> Rows:
        return Rows(tmp_path / f"{name}.npy", "this test", made_from=photos)

    assert told_by(whole) == told_by(whole.copy()) != told_by(changed)
    assert told_by(Views([whole])) != told_by(Views([changed])) != told_by(Views([changed, changed]))
    assert told_by(of_file("whole", "a")) == told_by(of_file("whole", "a")) != told_by(of_file("changed", "b"))
    some, other = (told_by(of_file("whole", "a").view(rows)) for rows in (range(200), [0, 7, *range(2, 200)]))
    assert some != other and some[0] == other[0] == "a"
    assert told_by(pickle.loads(pickle.dumps(of_file("whole", "a")))) == told_by(of_file("whole", "a"))


def test_threads_do_not_disturb_each_other(tmp_path: Path, array: np.ndarray) -> None:
    rows = Rows(tmp_path / "a.npy", "this test")
    with ThreadPoolExecutor(8) as pool:
        for row, found in zip(np.arange(400) % 40, pool.map(lambda row: rows[row % 40], range(400)), strict=True):
            np.testing.assert_array_equal(found, array[row])


def test_what_was_read_is_no_memory_of_the_process(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((64, 2**20), np.uint8))
    rows = Rows(tmp_path / "a.npy", "this test")
    before = psutil.Process().memory_info().rss
    assert sum(int(rows[row].sum()) for row in range(64)) == 0
    assert psutil.Process().memory_info().rss - before < 2**24  # 64 MiB were read


def test_a_file_that_is_cut_short_is_named(tmp_path: Path, array: np.ndarray) -> None:
    rows = Rows(tmp_path / "a.npy", "this test")
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(600)
    with pytest.raises(InputError, match=r"a\.npy has become shorter; delete it and run this test"):
        rows[39]
