"""Each kind of FAISS index against brute force in NumPy: answers, filters, recall as it claims it, and what is kept."""

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest

from helpers.artefacts import seal
from helpers.files import InputError
from helpers.scale.embedded import Rows
from helpers.scale.faiss_index import EFFORTS, RECALL, FaissIndex, build_faiss, kind_for, vector_bytes
from helpers.scale.filters import Filter, words
from helpers.speed.search import bytes_of, clustered_vectors

COUNT, WIDTH = 6000, 64
VECTORS, QUERIES = clustered_vectors(COUNT, 50, width=WIDTH, clusters=100)
PLACES, LABELS = ("snow", "grass", "sea"), ("dog", "cat", None, 'o\'hare "x"')


def about(count: int = COUNT) -> pa.Table:
    return pa.table(
        {
            "caption": [None if row % 50 == 7 else f"A Dog-house , in the {PLACES[row % 3]} !" for row in range(count)],
            "label": pa.array([LABELS[row % 4] for row in range(count)], pa.string()),
            "split": ["test" if row % 100 == 0 else "train" for row in range(count)],
        }
    )


class Photos:
    """What was embedded, without embedding."""

    fingerprint, width = "model-a", WIDTH

    def __len__(self) -> int:
        return COUNT

    def batches(self):
        for first in range(0, COUNT, 1024):
            ids = [str(row) for row in range(COUNT)][first : first + 1024]
            yield Rows(ids, VECTORS[first : first + 1024], about().slice(first, 1024))

    def sample(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.random.default_rng(seed).permutation(COUNT)[:count]
        return rows, VECTORS[rows]


@pytest.fixture(scope="module", params=["flat", "hnsw", "ivf_pq"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    build_faiss(Photos(), folder, request.param)
    return request.param, folder


def nearest(queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> list[list[str]]:
    rows = np.arange(COUNT) if rows is None else rows
    order = np.argsort(-(queries @ VECTORS[rows].T), axis=1)[:, :k]
    return [[str(row) for row in rows[line]] for line in order]


def share(found: list[list[str]], truth: list[list[str]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def test_recall_is_what_it_claims_and_a_vector_has_the_cosine_it_should(built: tuple[str, Path]) -> None:
    kind, folder = built
    for mapped in (False, True):
        index = FaissIndex.load(folder, "model-a", mapped)
        assert (len(index), index.width, index.kind) == (COUNT, WIDTH, kind)
        scores, ids = index.search(3 * QUERIES, 10)
        recall = share(ids, nearest(QUERIES, 10))
        assert recall == 1.0 if kind == "flat" else abs(recall - index.recall) < 0.08
        true = np.array([[VECTORS[int(one)] @ query for one in line] for line, query in zip(ids, QUERIES, strict=True)])
        np.testing.assert_allclose(scores, true, atol=0.15 if kind == "ivf_pq" else 1e-5)
    assert index.recall == 1.0 if kind == "flat" else index.recall >= (0.95 if kind == "hnsw" else 0.6)


@pytest.mark.parametrize(
    "where",
    [
        Filter(split="test"),
        Filter(label="dog"),
        Filter(label='o\'hare "x"', word="SEA"),
        Filter(word="dog-house"),
        Filter(split="test", label="dog", word="snow"),
    ],
)
def test_a_filter_lets_through_what_it_says_and_nothing_is_missed_behind_it(
    built: tuple[str, Path], where: Filter
) -> None:
    kind, folder = built
    index = FaissIndex.load(folder, "model-a")
    rows = np.array(
        [
            row
            for row, one in enumerate(about().to_pylist())
            if where.split in (None, one["split"])
            and where.label in (None, one["label"])
            and (where.word is None or where.word.lower() in words(one["caption"]))
        ]
    )
    _, ids = index.search(QUERIES, 10, where)
    assert {one for line in ids for one in line} <= {str(row) for row in rows}
    truth = nearest(QUERIES, 10, rows)
    assert all(len(line) == len(true) for line, true in zip(ids, truth, strict=True))
    narrow = len(rows) < COUNT / 10
    assert share(ids, truth) >= (0.6 if kind == "ivf_pq" else 1.0 if kind == "flat" or narrow else 0.9)


def test_what_was_found_is_named_without_a_look_at_all_names() -> None:
    index = FaissIndex(WIDTH)
    for first in range(0, COUNT, 200):
        index.add([f"{row:01000d}" for row in range(first, first + 200)], VECTORS[first : first + 200])
    parts = index.rows["id"].num_chunks
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        found = [index.search(query, 10)[1][0] for query in QUERIES]
    finally:
        pa.set_memory_pool(before)
    assert [[int(id_) for id_ in line] for line in found] == [
        [int(id_) for id_ in line] for line in nearest(QUERIES, 10)
    ]
    assert (pool.max_memory() or 0) < 100_000 and index.rows["id"].num_chunks == parts  # all names are 6 MB


def test_recall_is_measured_with_the_queries_that_are_given(tmp_path: Path) -> None:
    elsewhere = clustered_vectors(0, 60, width=WIDTH, clusters=50, seed=9)[1]
    index = build_faiss(Photos(), tmp_path, "hnsw", elsewhere)
    found = share(index.search(elsewhere, 10)[1], nearest(elsewhere, 10))
    assert index.recall == pytest.approx(found, abs=0.01) and found >= 0.95
    photos = FaissIndex.load(tmp_path, "model-a")
    photos.effort = 16
    assert share(photos.search(elsewhere, 10)[1], nearest(elsewhere, 10)) < found  # what photos would have asked for


@pytest.mark.parametrize("built", ["ivf_pq"], indirect=True)
def test_no_effort_is_spent_that_brings_nothing(built: tuple[str, Path]) -> None:
    """A few bytes a vector cannot tell which of two near ones is nearer, however many lists are read."""
    kind, folder = built
    index = FaissIndex.load(folder, "model-a")
    truth, shares = nearest(QUERIES, 10), {}
    for effort in EFFORTS[kind]:
        index.effort = effort
        shares[effort] = share(index.search(QUERIES, 10)[1], truth)
    chosen = FaissIndex.load(folder, "model-a").effort
    assert max(shares.values()) < RECALL and shares[chosen] >= max(shares.values()) - 0.02
    assert chosen < max(EFFORTS[kind])


def test_a_filter_that_lets_nothing_through_finds_nothing(built: tuple[str, Path]) -> None:
    scores, ids = FaissIndex.load(built[1], "model-a").search(QUERIES, 5, Filter(label="unicorn"))
    assert scores.shape == (len(QUERIES), 0) and ids == [[]] * len(QUERIES)
    assert FaissIndex.load(built[1], "model-a").captions(["3", "1", "7"]) == [
        "A Dog-house , in the snow !",
        "A Dog-house , in the grass !",
        None,
    ]


def test_the_arithmetic_of_memory_is_that_of_the_files(built: tuple[str, Path]) -> None:
    kind, folder = built
    index = faiss.read_index(str(folder / "faiss_index.bin"))
    shared = bytes_of(index) - COUNT * vector_bytes(kind, WIDTH)
    # What all vectors share: centres, and patterns of 8 bits. How many stand on higher floors of HNSW is drawn by lot.
    centres = 4 * WIDTH * (index.nlist + 256) + 40 * index.nlist if kind == "ivf_pq" else 0
    assert -5000 < shared - centres < 5000


def test_the_kind_follows_from_size_and_memory() -> None:
    assert kind_for(100_000, 256, 10**9) == "flat"
    assert kind_for(1_000_000, 256, 8 * 10**9) == "hnsw"
    assert kind_for(1_000_000, 256, 10**9) == kind_for(100_000_000, 256, 64 * 10**9) == "ivf_pq"


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    index = FaissIndex(WIDTH, "model-a")
    with pytest.raises(InputError, match="index is empty"):
        index.search(QUERIES, 3)
    for ids, vectors, said in (
        (["a", "b"], VECTORS[:3], "2 ids came with 3 vectors"),
        (["a"], VECTORS[:1, :5], "do not fit an index"),
        (["a"], np.zeros((1, WIDTH)), "no direction"),
    ):
        with pytest.raises(InputError, match=said):
            index.add(ids, vectors)
    index.add(["a", "b"], VECTORS[:2])
    with pytest.raises(InputError, match="at least 1 result"):
        index.search(QUERIES, 0)
    index.save(tmp_path / "good")
    with pytest.raises(
        InputError, match=r"another model \(model-a\).*\(model-b\); name that one with --model and --precision"
    ):
        FaissIndex.load(tmp_path / "good", "model-b")
    with pytest.raises(InputError, match="does not exist; run"):
        FaissIndex.load(tmp_path / "nowhere", "model-a")
    index.add(["b"], VECTORS[2:3])
    with pytest.raises(InputError, match="'b' would be in the index twice"):
        index.save(tmp_path / "twice")
    file = tmp_path / "good" / "rows.arrow"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"rows\.arrow is not as it was written"):
        FaissIndex.load(tmp_path / "good", "model-a")
    seal(tmp_path / "good", "rows.arrow")
    with pytest.raises(InputError, match="not one complete index"):
        FaissIndex.load(tmp_path / "good", "model-a")
    with pytest.raises(InputError, match="no index of the kind 'magic'"):
        FaissIndex(WIDTH, kind="magic")
    with pytest.raises(InputError, match="has to learn first"):
        FaissIndex(WIDTH, kind="ivf_pq", count=10).add(["a"], VECTORS[:1])
    with pytest.raises(InputError, match="learns from 256 vectors or more"):
        FaissIndex(WIDTH, kind="ivf_pq", count=10).train(VECTORS[:10])
    with pytest.raises(InputError, match="multiple of 4"):
        FaissIndex(WIDTH + 1, kind="ivf_pq")
    for word in ("two dogs", "", "?!"):
        with pytest.raises(InputError, match="takes one word"):
            Filter(word=word)


def test_a_good_index_is_not_to_be_made_again_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("std::bad_alloc")

    index = FaissIndex(WIDTH, "model-a")
    index.add(["a", "b"], VECTORS[:2])
    index.save(tmp_path)
    monkeypatch.setattr(faiss, "read_index", fail)
    with pytest.raises(InputError, match=r"faiss_index\.bin could not be loaded .* left as it is; free some memory"):
        FaissIndex.load(tmp_path, "model-a")
