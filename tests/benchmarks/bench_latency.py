"""Latency: one request of the small towers and one whole caption, and what larger batches and the hints change."""

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from sizes import QUICK

from helpers.deploy.export import variants
from helpers.speed.benchmarks import in_fresh_process
from helpers.speed.latency import batch_speeds, caption_call, caption_times, cpp_compiler, tower_call, try_tower

ROUNDS = 5 if QUICK else 200
LIMIT_MS = {"image": 3, "text": 1}


def _median_ms(benchmark, call, rounds: int) -> float:
    benchmark.pedantic(call, rounds=rounds, iterations=1, warmup_rounds=3)
    return 1000 * benchmark.stats.stats.median


@pytest.mark.parametrize("way", ["pytorch", "compile", *variants()])
@pytest.mark.parametrize("tower", ["image", "text"])
def bench_latency_tower(benchmark, reach, outputs: Path, tower: str, way: str) -> None:
    benchmark.group = f"one request, {tower} tower"
    if way == "compile":
        if cpp_compiler() is None:
            pytest.skip("torch.compile needs a C++ compiler, and there is none (g++, clang++ or cl)")
        try:
            in_fresh_process(try_tower, outputs, tower, way)
        except BrokenProcessPool:
            pytest.skip(f"what torch.compile makes of the {tower} tower ends its process on this processor")
    median = _median_ms(benchmark, tower_call(outputs, tower, way), ROUNDS)
    if way == "int8":
        reach(f"one request, {tower} tower INT8: ms", median, at_most=LIMIT_MS[tower])


@pytest.mark.parametrize("way", ["pytorch", *variants()])
@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def bench_latency_caption(benchmark, reach, outputs: Path, kind: str, way: str) -> None:
    benchmark.group = f"one caption, {kind}, beam 3"
    median = _median_ms(benchmark, caption_call(outputs, kind, way), max(3, ROUNDS // 5))
    if way == "fp32":
        reach(f"one caption, {kind}, beam 3, FP32 graph: ms", median, at_most=3)


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def bench_latency_loop(once, reach, outputs: Path, kind: str) -> None:
    """What it is worth that the whole beam search is one request, against PyTorch and against a call for each step."""
    times = once(in_fresh_process, caption_times, outputs, kind, ("pytorch", "steps", "fp32"), 3, 5 if QUICK else 100)
    for way, least in (("pytorch", 2.5), ("steps", 1.8)):
        what = f"one caption, {kind}, beam 3, search inside the FP32 graph: times as fast as {way}"
        reach(what, times[way] / times["fp32"], at_least=least)


@pytest.mark.parametrize("tower", ["image", "text"])
def bench_latency_batches(once, outputs: Path, tower: str) -> None:
    once(in_fresh_process, batch_speeds, outputs, tower, (1, 8, 32), 0.05 if QUICK else 0.4)
