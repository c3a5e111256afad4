"""How fast captioners train: whole captions against the loop of many tutorials, one padded row a word.

That loop cuts each caption into a row a word: photo, the words before it padded to the length of the longest caption,
and the word itself. The model runs over every prefix from its beginning, reads the photo for every word, and takes a
step of the optimiser every 64 words, in float32 and with memory handled as usual. Whole captions are trained as
`train_captioner` does it: in bfloat16 where the processor has it, and with freed memory kept. `words_ladder` takes the
steps from one to the other one by one.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.captioning.captioner import load_captioner
from helpers.captioning.training import CaptionData, CaptionTraining, batches, caption_data, caption_loss
from helpers.data.manifest import load_manifest
from helpers.devices import chosen_device, gradient_scaler, to_device
from helpers.environment import keep_freed_memory
from helpers.features.store import load_features
from helpers.training.optimizer import adamw, descend

ROWS = 64  # a step of the slow loop


def rows_of_words(
    data: CaptionData, length: int, rng: np.random.Generator, passes: int = 1
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of the slow loop, photos in random order.

    Args:
        length: every prefix is padded to this many tokens.
        passes: through all photos. Rows that fill no batch wait for those of the next pass; the last ones stay behind.

    Yields:
        Features (64, ...), prefixes (64, length), and the word that follows each (64,).
    """
    rows: list[tuple[int, np.ndarray, int]] = []
    for photo in itertools.chain.from_iterable(rng.permutation(len(data.ids)) for _ in range(passes)):
        for caption in data.tokens[photo]:
            for place in range(1, int((caption != 0).sum())):
                rows.append((int(photo), caption[:place], int(caption[place])))
                if len(rows) == ROWS:
                    prefixes = np.zeros((ROWS, length), np.int64)
                    for prefix, (_, words, _) in zip(prefixes, rows, strict=True):
                        prefix[: len(words)] = words
                    photos, _, following = zip(*rows, strict=True)
                    features = torch.from_numpy(data.features(np.array(photos)))
                    yield features, torch.from_numpy(prefixes), torch.tensor(following)
                    rows.clear()


def row_loss(model: nn.Module, features: Tensor, prefixes: Tensor, following: Tensor) -> Tensor:
    """The slow loop's loss: each row through the whole model in float32, for the one word after it."""
    features, prefixes, following = (to_device(part, model) for part in (features, prefixes, following))
    states = model.states(features, prefixes)  # (64, T, H)
    last = (prefixes != 0).sum(1) - 1
    logits = model.logits(states[torch.arange(len(prefixes), device=last.device), last])  # (64, V)
    return F.cross_entropy(logits, following)


def caption_loss_in_float32(
    model: nn.Module, features: Tensor, tokens: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, int]:
    """`caption_loss` without bfloat16."""
    features, tokens = to_device(features, model), to_device(tokens, model)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]  # (P * k, T - 1)
    real = targets != 0
    logits = model.logits(model.states(features, inputs)[real])  # (words, V)
    return F.cross_entropy(logits, targets[real], label_smoothing=label_smoothing), int(real.sum())


def words_per_second(
    untrained: Callable[[], nn.Module], data: CaptionData, settings: CaptionTraining, length: int, steps: int = 4
) -> dict[str, float]:
    """Words learned from a second in either way, with the same network, one after the other.

    Args:
        untrained: builds the network.
        length: to which the slow loop pads: the longest caption's.
        steps: timed steps of each, after two to warm up.

    Returns:
        `one_row_a_word` and `whole_captions` in words a second, and `ratio` between them.
    """
    slow, fast = _ways(data, settings, length, steps)
    figures = {"one_row_a_word": _speed(untrained(), slow, settings, steps)}
    keep_freed_memory()  # for good, so the slow loop goes first
    figures["whole_captions"] = _speed(untrained(), fast(caption_loss), settings, steps)
    return figures | {"ratio": figures["whole_captions"] / figures["one_row_a_word"]}


def words_ladder(
    untrained: Callable[[], nn.Module], data: CaptionData, settings: CaptionTraining, length: int, steps: int = 4
) -> dict[str, float]:
    """Words a second on the way from the slow loop to `train_captioner`, one cure after the other; each rung keeps
    those before it. Arguments are those of `words_per_second`.
    """
    slow, fast = _ways(data, settings, length, steps)
    ladder = {"one row a word": _speed(untrained(), slow, settings, steps)}
    ladder["whole captions"] = _speed(untrained(), fast(caption_loss_in_float32), settings, steps)
    ladder["bfloat16"] = _speed(untrained(), fast(caption_loss), settings, steps)
    keep_freed_memory()  # for good, so this comes last
    ladder["freed memory kept"] = _speed(untrained(), fast(caption_loss), settings, steps)
    return ladder


def trained_words_ladder(outputs: Path, kind: str, steps: int) -> dict[str, float]:
    """`words_ladder` of the captioner of this `kind` that a finished run left in `outputs`, on that run's photos.

    The network goes on from its trained weights, which take as long as any others.
    """
    captioner = load_captioner(outputs / "captioners" / kind)
    photos = load_manifest(outputs).split("train")
    features = load_features(outputs / "features", captioner.backbone)
    data = caption_data(kind, photos, [features], captioner.tokenizer, captioner.max_length)
    texts = [text for photo in photos for text in photo.captions]
    longest = max(map(len, captioner.tokenizer.encode_all(texts, 1000))) - 1
    return words_ladder(lambda: copy.deepcopy(captioner.model), data, CaptionTraining(1), longest, steps)


Learn = Callable[[nn.Module], tuple[Tensor, int]]  # loss of the next batch, and its words


def _ways(
    data: CaptionData, settings: CaptionTraining, length: int, steps: int
) -> tuple[Learn, Callable[[Callable[..., tuple[Tensor, int]]], Learn]]:
    """The slow loop, and whole captions with a loss of one's choice."""
    rng = np.random.default_rng(settings.seed)
    # A small data set is gone through again and again; a pass has one row at least.
    rows = rows_of_words(data, length, rng, passes=ROWS * (steps + 2))
    parts = itertools.cycle(batches(data, settings.batch, rng))

    def slow(model: nn.Module) -> tuple[Tensor, int]:
        return row_loss(model, *next(rows)), ROWS

    def fast(loss: Callable[..., tuple[Tensor, int]]) -> Learn:
        return lambda model: loss(model, *data.batch(next(parts), rng), settings.label_smoothing)

    return slow, fast


def _speed(model: nn.Module, learn: Learn, settings: CaptionTraining, steps: int) -> float:
    """Words a second over `steps` steps, after two to warm up."""
    model.to(chosen_device()).train()
    scaler = gradient_scaler(chosen_device())
    optimizer = adamw(model.parameters(), settings.learning_rate, settings.weight_decay)
    words, seconds = [], []
    for _ in range(steps + 2):
        begin = time.perf_counter()
        loss, count = learn(model)
        descend(model, optimizer, loss, settings.clip, scaler)
        loss.item()  # which a GPU has only when it is done
        words.append(count)
        seconds.append(time.perf_counter() - begin)
    return sum(words[2:]) / sum(seconds[2:])
