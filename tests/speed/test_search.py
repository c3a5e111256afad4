"""Indexes side by side: structured vectors, recall against NumPy's exact answers, and what a curve holds."""

import faiss
import numpy as np
import pytest

from helpers.speed.search import EFFORTS, bytes_of, clustered_vectors, index_curves, new_index, query_times, recall


def test_vectors_are_unit_seeded_and_vary_in_few_directions() -> None:
    vectors, queries = clustered_vectors(3000, 20, clusters=50)
    assert vectors.shape == (3000, 256) and queries.shape == (20, 256) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors, clustered_vectors(3000, 20, clusters=50)[0])
    assert not np.array_equal(vectors, clustered_vectors(3000, 20, clusters=50, seed=1)[0])

    def share_of_64(rows: np.ndarray) -> float:
        spread = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
        return spread[:64].sum() / spread.sum()

    noise = np.random.default_rng(0).standard_normal((3000, 256))
    assert share_of_64(vectors) > 0.9 > 0.5 > share_of_64(noise)


@pytest.mark.parametrize("kind", EFFORTS)
def test_every_index_finds_the_true_neighbours_when_it_looks_everywhere(kind: str) -> None:
    vectors, queries = clustered_vectors(4000, 30, clusters=40)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    index = new_index(kind, 256, len(vectors))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    if not index.is_trained:
        index.train(vectors)
        cells = faiss.extract_index_ivf(index)
        cells.nprobe = cells.nlist
    index.add(vectors)
    if kind == "hnsw":
        index.hnsw.efSearch = 512
    found = recall(index.search(queries, 10)[1], truth)
    assert found > {"flat": 0.999, "ivf_flat": 0.999, "hnsw": 0.97, "ivf_pq": 0.6, "ivf_refined": 0.97}[kind]


def test_recall_counts_places_in_common_whatever_their_order() -> None:
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall(truth[:, ::-1], truth) == 1
    assert recall(np.array([[1, 2, 9, 9], [0, 0, 0, 5]]), truth) == pytest.approx(3 / 8)


def test_curves_hold_every_effort_and_the_threads_come_back() -> None:
    before = faiss.omp_get_max_threads()
    table = index_curves(2000, 20, 64, ("flat", "hnsw"))
    assert (table["vectors"], table["width"], list(table["indexes"])) == (2000, 64, ["flat", "hnsw"])
    for kind, row in table["indexes"].items():
        assert [point["effort"] for point in row["points"]] == list(EFFORTS[kind])
        assert all(point["single_ms"] > 0 and point["batch_ms"] > 0 for point in row["points"])
        assert row["build_seconds"] > 0
    assert table["indexes"]["flat"]["points"][0]["recall"] == 1
    recalls = [point["recall"] for point in table["indexes"]["hnsw"]["points"]]
    assert recalls[-1] >= recalls[0] and recalls[-1] > 0.95
    # Links and vectors take more than the vectors alone, 4 bytes a number.
    assert table["indexes"]["hnsw"]["megabytes"] > table["indexes"]["flat"]["megabytes"] >= 2000 * 64 * 4 / 1e6
    assert faiss.omp_get_max_threads() == before


def test_bytes_are_those_of_the_saved_index(tmp_path) -> None:
    index = new_index("flat", 8, 10)
    index.add(np.ones((10, 8), np.float32))
    faiss.write_index(index, str(tmp_path / "index"))
    assert bytes_of(index) == (tmp_path / "index").stat().st_size
    assert set(query_times(index, np.ones((3, 8), np.float32))) == {"single_ms", "batch_ms"}
