"""Search: exact at ten thousand vectors, and five kinds of index at a million."""

import os

from sizes import QUICK

from helpers.speed.benchmarks import in_fresh_process
from helpers.speed.search import index_curves

VECTORS = int(os.environ.get("BENCH_VECTORS", "20000" if QUICK else "1000000"))


def bench_search_flat(once, reach) -> None:
    table = once(in_fresh_process, index_curves, 10_000, 500, 256, ("flat",))
    found = table["indexes"]["flat"]["points"][0]["single_ms"]
    reach("exact search among 10,000 vectors: ms a query", found, at_most=0.5)


def bench_search_million(once, reach) -> None:
    """A million vectors unless BENCH_VECTORS says otherwise; building HNSW takes longest."""
    table = once(in_fresh_process, index_curves, VECTORS, 200 if QUICK else 500)
    indexes = {kind: table["indexes"][kind]["points"] for kind in ("hnsw", "ivf_flat")}
    good = [point["single_ms"] for points in indexes.values() for point in points if point["recall"] >= 0.95]
    best = min(good, default=float("inf"))
    reach(f"HNSW or IVF among {VECTORS:,} vectors, recall@10 >= 0.95: ms a query", best, at_most=1)
    refined = table["indexes"]["ivf_refined"]
    good = [point["single_ms"] for point in refined["points"] if point["recall"] >= 0.97]
    reach("IVF-PQ, ranked again, recall@10 >= 0.97: ms a query", min(good, default=float("inf")), at_most=0.3)
    reach("IVF-PQ, ranked again: seconds to build", refined["build_seconds"], at_most=60)
