"""Which search index is right: exact search against four approximate ones, recall beside time, build time, memory.

- **Flat**: the query is compared with every vector. Always right.
- **IVF-Flat**: vectors are sorted into lists around centres found by k-means; `nprobe` lists are searched.
- **IVF-PQ**: the same, with each vector stored as a few bytes, each naming the closest of 256 patterns for a piece of
  the vector (product quantisation; Jégou, Douze and Schmid, 2011).
- **IVF-PQ, ranked again**: half a byte for two numbers, so that the patterns' products with the query fit into the
  processor's registers and thirty-two vectors are compared at once (André, Kermarrec and Le Scouarnec, 2015); the
  twenty times as many as are asked for that look nearest are ranked again, in 16 bits a number.
- **HNSW**: every vector knows some neighbours; a search walks from neighbour to neighbour towards the query, with
  the best `efSearch` places in mind (Malkov and Yashunin, 2018).

Embeddings of photos and texts come in groups, and vary in few directions; uniform noise has neither, and on it every
approximate index looks bad. So the vectors here are drawn from a mixture of Gaussians with such structure.
"""

import time
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from helpers.speed.benchmarks import cost

_PART = 100_000  # vectors drawn at a time


def clustered_vectors(
    count: int, queries: int, width: int = 256, clusters: int = 1000, rank: int = 32, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (count, width) and queries (queries, width) of the same kind, float32.

    A vector is one of `clusters` centres, plus a step within `rank` directions, of which later ones matter less, plus
    a little noise in all directions. Centres lie within a subspace of the same kind, twice as wide; `width` must be at
    least that. Groups overlap, as those of photos do.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((width, 2 * rank)))[0].T.astype(np.float32)  # (2 * rank, width)
    strength = (1 / np.sqrt(1 + np.arange(2 * rank))).astype(np.float32)  # of each direction
    centres = rng.standard_normal((clusters, 2 * rank), np.float32) * strength @ basis  # (clusters, width)
    vectors = np.empty((count + queries, width), np.float32)
    for start in range(0, len(vectors), _PART):
        part = vectors[start : start + _PART]
        steps = rng.standard_normal((len(part), rank), np.float32) * strength[:rank]
        part[:] = centres[rng.integers(clusters, size=len(part))] + steps @ basis[:rank]
        part += 0.02 * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors[:count], vectors[count:]


def new_index(kind: str, width: int, count: int) -> faiss.Index:
    """An empty index of `kind` (see `EFFORTS`) for `count` vectors, compared by inner product."""
    if kind == "flat":
        return faiss.IndexFlatIP(width)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        return index
    # About as many lists as vectors in a list; a search reads `nprobe` of them.
    lists = max(1, min(2048, round(2 * count**0.5)))
    if kind == "ivf_flat":
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    elif kind == "ivf_refined":
        parts = f"IVF{lists},PQ{width // 2}x4fs,Refine(SQfp16)"  # in FAISS's own words
        index = faiss.index_factory(width, parts, faiss.METRIC_INNER_PRODUCT)
        index.k_factor = 20
    else:
        index = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(width), width, lists, width // 4, 8, faiss.METRIC_INNER_PRODUCT
        )  # a byte for 4 numbers
        index.pq.cp.max_points_per_centroid = 64
    # k-means on a part of the vectors is as good, and much faster
    faiss.extract_index_ivf(index).cp.max_points_per_centroid = 64
    return index


def query_times(index: faiss.Index, queries: np.ndarray, k: int = 10) -> dict[str, float]:
    """Milliseconds a query on one thread: `single_ms` one at a time, `batch_ms` all `queries` in one call."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        times = []
        for query in queries:
            start = time.perf_counter()
            index.search(query[None], k)
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
        index.search(queries, k)
        batch = (time.perf_counter() - start) / len(queries)
    finally:
        faiss.omp_set_num_threads(threads)
    return {"single_ms": 1000 * float(np.median(times)), "batch_ms": 1000 * batch}


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true nearest (Q, k) among those found (Q, k).

    >>> recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))


# How hard each kind looks: lists that are read (nprobe), places that are kept in mind (efSearch).
EFFORTS: dict[str, Sequence[int]] = {
    "flat": (0,),
    "ivf_flat": (1, 2, 4, 8, 16, 32, 64, 128),
    "ivf_pq": (1, 2, 4, 8, 16, 32, 64),
    "ivf_refined": (1, 2, 4, 8, 16, 32, 64, 128),
    "hnsw": (10, 16, 32, 64, 128, 256),
}


def index_curves(
    count: int, queries: int = 500, width: int = 256, kinds: Sequence[str] = tuple(EFFORTS)
) -> dict[str, Any]:
    """Each kind of index over `count` clustered vectors: build_seconds, megabytes, and points of recall and time.

    A point is effort, recall (of the exact ten nearest), single_ms and batch_ms. Indexes are built on all cores and
    searched on one.
    """
    vectors, asked = clustered_vectors(count, queries, width)
    _, truth = _exact(vectors).search(asked, 10)
    table: dict[str, Any] = {}
    for kind in kinds:
        index = new_index(kind, width, count)

        def build(index: faiss.Index = index) -> None:
            if not index.is_trained:
                index.train(vectors)
            index.add(vectors)

        spent = cost(build)
        points = []
        for effort in EFFORTS[kind]:
            if kind == "hnsw":
                index.hnsw.efSearch = effort
            elif kind != "flat":
                faiss.extract_index_ivf(index).nprobe = effort
            _, rows = index.search(asked, 10)
            timed = asked[: 50 if kind == "flat" else 200]
            points.append({"effort": effort, "recall": recall(rows, truth)} | query_times(index, timed))
        table[kind] = {"build_seconds": spent.seconds, "megabytes": bytes_of(index) / 1e6, "points": points}
    return {"vectors": count, "width": width, "indexes": table}


def _exact(vectors: np.ndarray) -> faiss.Index:
    index = new_index("flat", vectors.shape[1], len(vectors))
    index.add(vectors)
    return index


def bytes_of(index: faiss.Index) -> int:
    """Bytes that `index` takes, on disk and in memory alike."""
    written = []

    def count(part: bytes) -> int:
        written.append(len(part))
        return len(part)

    faiss.write_index(index, faiss.PyCallbackIOWriter(count, 1 << 24))  # counted, kept nowhere
    return sum(written)
