"""How fast a backbone looks at photos: the plain loop of many scripts against a compiled graph that is kept busy.

The plain loop decodes a photo, runs the network in PyTorch in float32, and only then turns to the next photo. The
graph holds the preprocessing too; a queue feeds it so that every core has a request, and other threads decode ahead.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import torch

from helpers.data.images import load_photo, resize_photo
from helpers.deploy.export import compare, quantise
from helpers.environment import cores, supports_bf16
from helpers.features.backbones import Backbone, load_backbone
from helpers.graphs import compile_graph, convert, request_queue


def decode(path: Path, size: int) -> np.ndarray:
    """A photo as uint8 (size, size, 3)."""
    return resize_photo(load_photo(path, size), size).copy()  # Pillow's own memory is read-only


def decoded_ahead(paths: Sequence[Path], size: int) -> Iterator[np.ndarray]:
    """The photos in order, decoded by other threads while the caller works; all may wait in memory."""
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(lambda path: decode(path, size), paths)


@torch.inference_mode()
def plain_loop(paths: Sequence[Path], backbone: Backbone) -> tuple[np.ndarray, float, float]:
    """Vectors (N, D), seconds spent decoding, and seconds spent in the network."""
    vectors, decoding, network = [], 0.0, 0.0
    for path in paths:
        start = time.perf_counter()
        photo = decode(path, backbone.photo_size)
        decoded = time.perf_counter()
        vectors.append(backbone(torch.from_numpy(photo[None]))[0])
        decoding += decoded - start
        network += time.perf_counter() - decoded
    return torch.cat(vectors).numpy(), decoding, network


def through_queue(compiled: ov.CompiledModel, photos: Iterable[np.ndarray], batch: int) -> tuple[np.ndarray, float]:
    """Vectors (N, D) of `photos`, `batch` a request and several requests at a time, and the seconds it took.

    A last batch that is not full is left out.
    """
    found: dict[int, np.ndarray] = {}

    def store(request: ov.InferRequest, number: int) -> None:
        found[number] = request.get_output_tensor(0).data.copy()

    photos = iter(photos)
    start = time.perf_counter()
    with request_queue(compiled, store) as queue:
        for number in itertools.count():
            part = list(itertools.islice(photos, batch))
            if len(part) < batch:
                break
            queue.start_async({0: np.stack(part)}, number)
    return np.concatenate([found[number] for number in sorted(found)]), time.perf_counter() - start


def extraction_speeds(
    name: str, paths: Sequence[Path], plain: int, batch: int = 4, calibration: int = 32, random_seed: int | None = None
) -> dict[str, dict[str, float]]:
    """Photos a second through backbone `name`, by the plain loop and by graphs in several kinds of arithmetic.

    Args:
        name: as in `backbone_names.py`.
        paths: photos; the graphs look at all of them.
        plain: the plain loop looks at this many, since it is slow.
        batch: photos a request of the graphs.
        calibration: photos that show 8-bit arithmetic its ranges: the last ones, on which accuracy is not judged.
        random_seed: random weights of this seed instead of the published ones. Times are the same.

    Returns:
        `plain_loop` and the kinds of arithmetic -> photos_per_second and decoding_share, the share of the time that
        decoding takes or, with decoding in the background, adds; the kinds of arithmetic also ratio to the plain loop
        and cosine to its vectors.
    """
    backbone = load_backbone(name, random_seed)
    size = backbone.photo_size
    plain_loop(paths[:2], backbone)  # to warm up
    expected, decoding, network = plain_loop(paths[:plain], backbone)
    slow = plain / (decoding + network)
    table = {"plain_loop": {"photos_per_second": slow, "decoding_share": decoding / (decoding + network)}}

    photos = [decode(path, size) for path in paths]
    graph = convert(backbone, backbone.forward, [torch.from_numpy(photos[0][None])])
    integers = quantise(graph, [(torch.from_numpy(photo[None]),) for photo in photos[-calibration:]])
    kinds = {"fp32": (graph, "f32"), "bf16": (graph, "bf16"), "int8": (integers, "f32")}
    if not supports_bf16():
        del kinds["bf16"]
    for kind, (model, arithmetic) in kinds.items():
        model.reshape([batch, size, size, 3])
        compiled = compile_graph(model, arithmetic, hint="THROUGHPUT")
        through_queue(compiled, photos[: 4 * batch], batch)  # to warm up
        vectors, seconds = through_queue(compiled, decoded_ahead(paths, size), batch)
        _, without_decoding = through_queue(compiled, photos, batch)
        judged = min(plain, len(vectors), len(paths) - calibration)
        table[kind] = {
            "photos_per_second": len(vectors) / seconds,
            "decoding_share": max(0.0, 1 - without_decoding / seconds),
            "ratio": len(vectors) / seconds / slow,
            "cosine": compare(torch.from_numpy(expected[:judged]), torch.from_numpy(vectors[:judged]))["cosine"],
        }
    return table
