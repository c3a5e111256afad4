"""How long one request takes: the trained towers and a whole caption, in PyTorch and as graphs.

*Latency* is the time of one request alone, what a person at a search box waits for. *Throughput* is how many rows a
second pass when there is always another request waiting, what counts for a folder of photos. A graph is compiled for
one of the two: for latency all cores share a request, for throughput each core has its own.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from helpers.captioning.captioner import load_captioner
from helpers.data.images import load_pixels
from helpers.data.manifest import load_manifest
from helpers.deploy.export import latency, throughput, variants
from helpers.deploy.models import load_openvino_captioner
from helpers.encoders.dual_encoder import EncoderPair, load_dual_encoder
from helpers.features.store import load_features
from helpers.graphs import Graph, graph_path, read_graph

Call = Callable[[], object]


def taken_by_others(seconds: float = 0.5) -> float:
    """The share of the machine's cores, 0 to 1, that other programs keep at work while this one waits for so long."""
    import psutil

    return psutil.cpu_percent(interval=seconds) / 100


def cpp_compiler() -> str | None:
    """The C++ compiler that `torch.compile` would use, or None where there is none."""
    return next(filter(None, map(shutil.which, [os.environ.get("CXX", "g++"), "clang++", "cl"])), None)


def tower_inputs(outputs: Path, tower: str, rows: int) -> tuple[EncoderPair, Callable[[Tensor], Tensor], Tensor, Path]:
    """The dual encoder of a finished run, its function for `tower` (image or text), validation inputs, the graph."""
    pair = load_dual_encoder(outputs / "dual_encoder")
    photos = load_manifest(outputs).split("val")[:rows]
    if tower == "image":
        inputs = torch.from_numpy(load_pixels([photo.path for photo in photos], pair.photo_size))
        return pair, pair.model.eval().encode_image, inputs, outputs / "dual_encoder" / "image_encoder.xml"
    inputs = torch.from_numpy(pair.tokens([photo.captions[0] for photo in photos]))
    return pair, pair.model.eval().encode_text, inputs, outputs / "dual_encoder" / "text_encoder.xml"


def tower_call(outputs: Path, tower: str, way: str, rows: int = 1) -> Call:
    """One request of `rows` inputs: `way` is pytorch, compile or one of `variants`."""
    _, function, inputs, path = tower_inputs(outputs, tower, rows)
    if way in ("pytorch", "compile"):
        function = torch.compile(function) if way == "compile" else function

        def call() -> Tensor:
            with torch.inference_mode():
                return function(inputs)

        return call
    precision, arithmetic = variants()[way]
    graph = Graph(read_graph(graph_path(path, precision)), arithmetic)
    return lambda: graph(inputs)


def try_tower(outputs: Path, tower: str, way: str) -> None:
    """One `tower_call`, to be made in a fresh process: what `torch.compile` generates can end the one it runs in."""
    tower_call(outputs, tower, way)()


def caption_call(outputs: Path, kind: str, way: str, beam: int = 3) -> Call:
    """One whole caption by beam search, from features to words: `way` is pytorch, steps or one of `variants`.

    "steps" are the FP32 graphs, each step called from Python; otherwise the whole search is one request.
    """
    folder = outputs / "captioners" / kind
    captioner = load_captioner(folder)
    photo = load_manifest(outputs).split("val")[0]
    features = captioner.features(load_features(outputs / "features", captioner.backbone), [photo.id])
    if way != "pytorch":
        captioner = load_openvino_captioner(folder, *variants()["fp32" if way == "steps" else way])
    if way == "steps":
        model = captioner.model  # without the search of its own
        captioner.model = SimpleNamespace(encode=model.encode, initial_state=model.initial_state, step=model.step)
    captioner = replace(captioner, beam=beam)
    return lambda: captioner.texts(captioner.decode(features))


def caption_times(outputs: Path, kind: str, ways: Sequence[str], beam: int = 3, rounds: int = 40) -> dict[str, float]:
    """Milliseconds of one caption in each of the ways of `caption_call`: the median of `rounds`, taken in turn."""
    calls = {way: caption_call(outputs, kind, way, beam) for way in ways}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 2):
        for way, call in calls.items():
            start = time.perf_counter()
            call()
            if turn > 1:  # the first two are the warm-up
                times[way].append(time.perf_counter() - start)
    return {way: 1000 * float(np.median(found)) for way, found in times.items()}


def batch_speeds(
    outputs: Path, tower: str, rows: Sequence[int] = (1, 8, 32), seconds: float = 0.3
) -> dict[str, dict[str, dict[int, float]]]:
    """Rows a second of `tower` by way, hint and size of the batch; PyTorch knows no hint and stands under latency."""
    _, function, inputs, path = tower_inputs(outputs, tower, max(rows))
    table: dict[str, dict[str, dict[int, float]]] = {
        "pytorch": {"latency": {n: _rate(lambda n=n: function(inputs[:n]), n, seconds) for n in rows}}
    }
    for way, (precision, arithmetic) in variants().items():
        file = graph_path(path, precision)
        graph = Graph(read_graph(file), arithmetic)
        table[way] = {
            "latency": {n: _rate(lambda n=n, graph=graph: graph(inputs[:n]), n, seconds) for n in rows},
            "throughput": {n: throughput(file, (inputs[:n],), arithmetic, seconds) for n in rows},
        }
    return table


def _rate(call: Call, rows: int, seconds: float) -> float:
    return 1000 * rows / latency(call, seconds)
