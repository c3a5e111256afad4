"""How fast captioners train: whole captions against the loop of many tutorials, one padded row a word.

That loop cuts each caption into a row a word: photo, the words before it padded to the length of the longest caption,
and the word itself. The model runs over every prefix from its beginning, reads the photo for every word, and takes a
step of the optimiser every 64 words, in float32 and with memory handled as usual. Whole captions are trained as
`train_captioner` does it: in bfloat16 where the processor has it, and with freed memory kept.
"""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.caption_training import CaptionData, CaptionTraining, batches, caption_loss, descend
from helpers.environment import keep_freed_memory
from helpers.optimizer import adamw

ROWS = 64  # a step of the slow loop


def rows_of_words(data: CaptionData, length: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of the slow loop, photos in random order.

    Args:
        length: every prefix is padded to this many tokens.

    Yields:
        Features (64, ...), prefixes (64, length), and the word that follows each (64,).
    """
    rows: list[tuple[int, np.ndarray, int]] = []
    for photo in rng.permutation(len(data.ids)):
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
    states = model.states(features, prefixes)  # (64, T, H)
    last = (prefixes != 0).sum(1) - 1
    logits = model.logits(states[torch.arange(len(prefixes)), last])  # (64, V)
    return F.cross_entropy(logits, following)


def words_per_second(
    untrained: Callable[[], nn.Module], data: CaptionData, settings: CaptionTraining, length: int, steps: int = 10
) -> dict[str, float]:
    """Words learned from a second in either way, with the same network, one after the other.

    Args:
        untrained: builds the network.
        length: to which the slow loop pads: the longest caption's.
        steps: timed steps of each, after two to warm up.

    Returns:
        `one_row_a_word` and `whole_captions` in words a second, and `ratio` between them.
    """
    rng = np.random.default_rng(settings.seed)
    # A small data set is gone through again and again.
    rows = itertools.chain.from_iterable(rows_of_words(data, length, rng) for _ in range(steps + 2))
    parts = iter(batches(data, settings.batch, rng) * (steps + 2))

    def slow(model: nn.Module) -> tuple[Tensor, int]:
        return row_loss(model, *next(rows)), ROWS

    def fast(model: nn.Module) -> tuple[Tensor, int]:
        return caption_loss(model, *data.batch(next(parts), rng), settings.label_smoothing)

    figures = {}
    for name, loss_of in (("one_row_a_word", slow), ("whole_captions", fast)):
        if loss_of is fast:
            keep_freed_memory()  # for good, so the slow loop goes first
        model = untrained().train()
        optimizer = adamw(model.parameters(), settings.learning_rate, settings.weight_decay)
        words, seconds = [], []
        for _ in range(steps + 2):
            begin = time.perf_counter()
            loss, count = loss_of(model)
            descend(model, optimizer, loss, settings.clip)
            words.append(count)
            seconds.append(time.perf_counter() - begin)
        figures[name] = sum(words[2:]) / sum(seconds[2:])
    return figures | {"ratio": figures["whole_captions"] / figures["one_row_a_word"]}
