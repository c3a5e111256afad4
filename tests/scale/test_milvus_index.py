"""Milvus Lite, the real engine: as exact as FAISS, with filters, upserts and batches, and nothing lost to SIGKILL."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from scale.test_faiss_index import COUNT, QUERIES, VECTORS, WIDTH, Photos, about, nearest

from helpers.environment import project_root
from helpers.files import InputError
from helpers.scale.faiss_index import FaissIndex
from helpers.scale.filters import Filter
from helpers.scale.milvus_index import MilvusIndex, build_milvus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("milvus") / "photos.db"
    build_milvus(Photos(), str(place)).close()
    return place


@pytest.fixture
def index(place: Path) -> Iterator[MilvusIndex]:
    with MilvusIndex.load(place, "model-a") as index:
        yield index


@pytest.fixture(scope="module")
def flat() -> FaissIndex:
    index = FaissIndex(WIDTH, "model-a")
    index.add([str(row) for row in range(COUNT)], VECTORS, about())
    return index


@pytest.mark.parametrize(
    "where",
    [None, Filter(split="test"), Filter(label='o\'hare "x"', word="SEA"), Filter("test", "dog", "dog-house")],
)
def test_answers_are_those_of_flat_faiss_and_of_numpy(
    index: MilvusIndex, flat: FaissIndex, where: Filter | None
) -> None:
    scores, ids = index.search(7 * QUERIES, 10, where)
    expected_scores, expected = flat.search(QUERIES, 10, where)
    assert [set(line) for line in ids] == [set(line) for line in expected]  # recall 1
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    if where is None:
        assert ids == nearest(QUERIES, 10) and len(index) == COUNT
    one, alone = index.search(QUERIES[3], 10, where)  # in a batch as by itself
    assert alone[0] == ids[3] and one.shape == (1, 10)


def test_a_filter_that_lets_nothing_through_finds_nothing(index: MilvusIndex) -> None:
    scores, ids = index.search(QUERIES, 5, Filter(label="unicorn"))
    assert scores.shape == (len(QUERIES), 0) and ids == [[]] * len(QUERIES)
    assert index.captions(["3", "1", "7"]) == FaissIndex.captions(_filled(), ["3", "1", "7"])


def _filled() -> FaissIndex:
    index = FaissIndex(WIDTH)
    index.add([str(row) for row in range(20)], VECTORS[:20], about().slice(0, 20))
    return index


def test_what_is_added_again_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    with MilvusIndex(tmp_path / "a.db", "model-a", WIDTH) as index:
        index.add(["one", "two"], VECTORS[:2], about().slice(0, 2))
        index.add(["two", "three"], VECTORS[[5, 6]], about().slice(5, 2))
        assert len(index) == 3
        assert index.search(VECTORS[[0, 5, 6, 1]], 1)[1][:3] == [["one"], ["two"], ["three"]]
        assert index.search(VECTORS[1], 1)[0][0, 0] < 0.99  # nobody has that vector any more
        assert index.captions(["two"]) == ["A Dog-house , in the sea !"]
        index.save(tmp_path / "a.db")
        with pytest.raises(InputError, match="stays where it was made"):
            index.save(tmp_path / "b.db")
    with MilvusIndex.load(tmp_path / "a.db", "model-a") as index:
        assert len(index) == 3


INSERTS = """
import sys
sys.path[:0] = ["tests"]
from scale.test_faiss_index import VECTORS, WIDTH
from helpers.scale.milvus_index import MilvusIndex
index = MilvusIndex(sys.argv[1], "model-a", WIDTH)
for first in range(0, len(VECTORS), 100):
    index.add([str(row) for row in range(first, first + 100)], VECTORS[first : first + 100])
    print(first + 100, flush=True)
"""


def test_killed_in_the_middle_of_inserts_everything_acknowledged_is_there(tmp_path: Path) -> None:
    place = tmp_path / "photos.db"
    process = subprocess.Popen(
        [sys.executable, "-c", INSERTS, place], cwd=project_root(), stdout=subprocess.PIPE, text=True
    )
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 1500:
            os.kill(process.pid, signal.SIGKILL)
            break
    acknowledged = max([acknowledged, *(int(line) for line in process.stdout)])  # what was said before the end
    process.wait()
    assert 1500 <= acknowledged < COUNT
    with MilvusIndex.load(place, "model-a") as index:
        assert acknowledged <= len(index) <= acknowledged + 100
        scores, ids = index.search(VECTORS[:acknowledged], 1)
        assert [line[0] for line in ids] == [str(row) for row in range(acknowledged)]
        np.testing.assert_allclose(scores, 1, atol=1e-5)
        index.add(["later"], QUERIES[:1])  # and it goes on
        assert index.search(QUERIES[:1], 1)[1] == [["later"]]


def test_it_listens_on_this_machine_alone_and_on_nothing_when_it_is_closed(place: Path) -> None:
    def listening() -> set[str]:
        return {
            one.laddr.ip.removeprefix("::ffff:")
            for one in psutil.Process().net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }

    before = listening()
    with MilvusIndex.load(place, "model-a"):
        assert listening() - before <= {"127.0.0.1"} and "127.0.0.1" in listening()
    assert listening() == before and not psutil.Process().children()


def test_what_is_wrong_is_one_sentence(place: Path, index: MilvusIndex, tmp_path: Path) -> None:
    for where, fingerprint, said in (
        (
            place,
            "model-b",
            r"another model \(model-a\) than the one in use \(model-b\); name that one with --model and --precision",
        ),
        (tmp_path / "none.db", "model-a", "does not exist; make it"),
        (tmp_path / "photos.sqlite", "model-a", r"takes an address \(http://...\) or a path that ends in .db"),
        (tmp_path / "a" / "b.db", "model-a", "does not exist; make it"),
        ("http://127.0.0.1:1", "model-a", "cannot be opened .*is the server up"),
    ):
        with pytest.raises(InputError, match=said):
            MilvusIndex.load(where, fingerprint)
    with pytest.raises(InputError, match="is not a folder"):
        MilvusIndex(tmp_path / "a" / "b.db", "model-a", WIDTH)
    with pytest.raises(InputError, match="holds vectors of width 64, not of 65"):
        MilvusIndex(place, "model-a", WIDTH + 1)
    for ids, vectors, said in (
        (["a", "b"], VECTORS[:3], "2 ids came with 3 vectors"),
        (["a", "a"], VECTORS[:2], "'a' would be in the index twice"),
        (["a" * 5000], VECTORS[:1], "An id has at most 4,096 bytes"),
        (["a"], VECTORS[:1, :9], "do not fit an index"),
    ):
        with pytest.raises(InputError, match=said):
            index.add(ids, vectors)
    with pytest.raises(InputError, match="at least 1 result"):
        index.search(QUERIES, 0)


def test_a_second_process_is_told_that_the_first_has_it(place: Path, index: MilvusIndex) -> None:
    program = (
        "from helpers.scale.milvus_index import MilvusIndex; MilvusIndex.load(__import__('sys').argv[1], 'model-a')"
    )
    run = subprocess.run([sys.executable, "-c", program, place], cwd=project_root(), capture_output=True, text=True)
    (*_, last) = run.stderr.strip().splitlines()
    assert (
        run.returncode == 1 and last.startswith("helpers.files.InputError") and "does another process have it" in last
    )
