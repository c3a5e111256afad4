"""Growth: what each step of the course costs for a data set of one, four and sixteen times the size.

A step that takes sixteen times as long for sixteen times the data grows in proportion (slope 1 in a picture with
logarithmic axes). Less means that a fixed part dominates, such as compiling a network; more means that the step would
not survive a large data set.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from helpers.captioning.captioner import new_captioner
from helpers.captioning.training import CaptionData, CaptionTraining, batches, caption_loss
from helpers.data.descriptions import ENGLISH
from helpers.data.images import load_pixels
from helpers.data.text import build_tokenizer
from helpers.devices import CPU, autocast
from helpers.encoders.dual_encoder import DualEncoderConfig, new_pair
from helpers.encoders.training import EncoderSettings, PairData
from helpers.environment import keep_freed_memory
from helpers.features.backbones import load_backbone
from helpers.features.store import extract_features
from helpers.sample.draw import draw_sample
from helpers.search.index import SearchIndex
from helpers.speed.benchmarks import Cost, cost, in_fresh_process
from helpers.speed.encoders import photos_per_second
from helpers.speed.search import clustered_vectors
from helpers.training.optimizer import adamw, descend

Step = Callable[[int, Sequence[Path], Path], Callable[[], object]]  # count, photos, folder -> the work to be timed


def _drawing(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    return lambda: draw_sample(folder / "sample", count, 1, 0, ENGLISH)


def _decoding(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    paths = _repeated(photos, count)
    return lambda: load_pixels(paths, 96)


def _features(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    backbone = load_backbone("efficientnet_lite0")
    named = [SimpleNamespace(id=str(number), path=path) for number, path in enumerate(_repeated(photos, count))]
    return lambda: extract_features(named, backbone, folder)


def _captioner_epoch(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    keep_freed_memory()
    rng = np.random.default_rng(0)
    words = ["".join(letters) for letters in itertools.product("abcdefgh", repeat=3)]  # 512
    tokenizer = build_tokenizer("word", [" ".join(words)])
    tokens = rng.integers(4, tokenizer.vocab_size, (count, 5, 14))
    ids = [str(number) for number in range(count)]
    vectors = rng.standard_normal((count, 1280), np.float32)
    data = CaptionData(ids, [vectors], np.arange(count), tokens, [])
    settings = CaptionTraining(epochs=1)
    model = new_captioner("lstm", tokenizer, 1280, "none", 15).model.train()
    optimizer = adamw(model.parameters(), settings.learning_rate, settings.weight_decay)

    def epoch() -> None:
        for places in batches(data, settings.batch, rng):
            loss, _ = caption_loss(model, *data.batch(places, rng), settings.label_smoothing)
            descend(model, optimizer, loss, settings.clip)

    return epoch


def _encoder_epoch(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    keep_freed_memory()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
    groups = np.arange(count)
    data = PairData(pixels, rng.integers(4, 500, (count, 14)), groups, groups, by_class=False)
    settings = EncoderSettings(epochs=1, batch=min(64, count))
    tokenizer = build_tokenizer("word", ["none"])
    model = new_pair(DualEncoderConfig(500), tokenizer, 0).model.to(memory_format=torch.channels_last)
    steps = count // settings.batch
    return lambda: photos_per_second(
        model, data, lambda rows: data.batch_photos(rows, settings), partial(autocast, CPU), settings, steps, warm_up=0
    )


def _index(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    vectors, _ = clustered_vectors(count, 0)
    return lambda: _filled(vectors)


def _searches(count: int, photos: Sequence[Path], folder: Path) -> Callable[[], object]:
    vectors, queries = clustered_vectors(count, 100)
    index = _filled(vectors)
    return lambda: [index.search(query, 10) for query in queries]


def _filled(vectors: np.ndarray) -> SearchIndex:
    index = SearchIndex(vectors.shape[1])
    index.add([str(number) for number in range(len(vectors))], vectors)
    return index


def _repeated(photos: Sequence[Path], count: int) -> list[Path]:
    return [photos[number % len(photos)] for number in range(count)]


# Each with what it works on, and how many of these are "one times the data".
STEPS: dict[str, tuple[Step, str, int]] = {
    "draw the sample": (_drawing, "photos", 64),
    "decode": (_decoding, "photos", 128),
    "extract features": (_features, "photos", 64),
    "an epoch of the LSTM captioner": (_captioner_epoch, "photos", 256),
    "an epoch of the dual encoder": (_encoder_epoch, "photos", 256),
    "fill the index": (_index, "vectors", 10_000),
    "100 searches": (_searches, "vectors", 10_000),
}


def growth(step: str, photos: Sequence[Path], times: Sequence[int] = (1, 4, 16)) -> dict[int, Cost]:
    """Size -> time and memory of `step`, one of `STEPS`, at its smallest size and at `times` as much.

    Each size has a process of its own. What comes before the step, such as loading weights, is not counted.
    """
    smallest = STEPS[step][2]
    return {many * smallest: in_fresh_process(_measure, step, many * smallest, photos) for many in times}


def _measure(step: str, count: int, photos: Sequence[Path]) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        return cost(STEPS[step][0](count, photos, Path(folder)))
