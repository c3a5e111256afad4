"""The slow loop that captioner training is compared with: the same words, the same loss, one padded row a word."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from small_captioners import KINDS, SMALL, photo_set, prepared

from helpers.captioning import training
from helpers.captioning.captioner import new_captioner
from helpers.captioning.training import CaptionTraining, caption_data, caption_loss
from helpers.data.manifest import Photo
from helpers.data.text import build_tokenizer
from helpers.speed.captioning import ROWS, row_loss, rows_of_words, words_per_second


def test_every_word_comes_once_with_its_photo_and_all_words_before_it() -> None:
    _, data, _ = prepared(20)
    expected: Counter[tuple[int, tuple[int, ...], int]] = Counter()
    for photo, captions in enumerate(data.tokens):
        for caption in captions:
            words = [int(word) for word in caption if word != 0]
            expected.update((photo, tuple(words[:place]), words[place]) for place in range(1, len(words)))

    found: Counter[tuple[int, tuple[int, ...], int]] = Counter()
    order = []
    for features, prefixes, following in rows_of_words(data, 14, np.random.default_rng(0)):
        assert features.shape == (ROWS, 10) and prefixes.shape == (ROWS, 14) and following.shape == (ROWS,)
        assert prefixes.dtype == following.dtype == torch.int64
        for row, prefix, word in zip(features, prefixes.tolist(), following.tolist(), strict=True):
            photo = int(np.abs(data.views[0] - row.numpy()).sum(1).argmin())
            np.testing.assert_array_equal(data.views[0][photo], row)
            words = [token for token in prefix if token != 0]
            assert prefix[len(words) :] == [0] * (14 - len(words))
            found[photo, tuple(words), word] += 1
            order.append(photo)
    assert not found - expected  # nothing else, and nothing twice
    assert (expected - found).total() == expected.total() % ROWS  # all but the last rows, which fill no batch
    assert len(order) > ROWS and order != sorted(order)


def test_a_data_set_of_fewer_rows_than_a_batch_is_gone_through_until_there_are_enough() -> None:
    drawn, features = photo_set(12)
    photos = [Photo(photo.id, photo.path, ("a brown dog",), "train") for photo in drawn]
    tokenizer = build_tokenizer("word", ["a brown dog"] * 12)
    data = caption_data("lstm", photos, [features], tokenizer, 12)
    batches = rows_of_words(data, 4, np.random.default_rng(0), passes=8)
    found = [word for *_, words in batches for word in words.tolist()]
    assert len(found) == 8 * 12 * 4 == 6 * ROWS  # three words and an end, none dropped between two passes
    assert set(Counter(found).values()) == {8 * 12}

    def untrained() -> torch.nn.Module:
        return new_captioner("lstm", tokenizer, 10, "none", 12, **SMALL["lstm"]).model

    for count in (12, 2):  # 48 rows a pass, and 8
        few = caption_data("lstm", photos[:count], [features], tokenizer, 12)
        figures = words_per_second(untrained, few, CaptionTraining(epochs=1, batch=8), 4, steps=2)
        assert figures["one_row_a_word"] > 0 and figures["whole_captions"] > 0


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_loss_of_rows_is_the_loss_of_whole_captions(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "autocast", nullcontext)
    drawn, features = photo_set(8)
    texts = [(f"a {photo.captions[0].split()[1]} stands", "one two three") for photo in drawn]
    photos = [Photo(photo.id, Path("x.jpg"), own, "train") for photo, own in zip(drawn, texts, strict=True)]
    tokenizer = build_tokenizer("word", [text for own in texts for text in own])
    data = caption_data(kind, photos, [features], tokenizer, 12)
    model = new_captioner(kind, tokenizer, 10, "none", 12, **SMALL[kind]).model.eval()
    # 8 photos, 2 captions each, 3 words and an end in each: 64 rows.
    (batch,) = rows_of_words(data, 9, np.random.default_rng(0))
    whole, words = caption_loss(model, *data.batch(np.arange(8)))
    assert words == ROWS
    assert row_loss(model, *batch).item() == pytest.approx(whole.item(), rel=1e-5)


def test_speeds_are_of_both_ways_with_a_fresh_network_each() -> None:
    captioner, data, _ = prepared(40)
    built = []

    def untrained() -> torch.nn.Module:
        built.append(new_captioner("lstm", captioner.tokenizer, 10, "none", 12, **SMALL["lstm"]).model)
        return built[-1]

    figures = words_per_second(untrained, data, CaptionTraining(epochs=1, batch=8), 12, steps=2)
    assert set(figures) == {"one_row_a_word", "whole_captions", "ratio"}
    assert all(figure > 0 for figure in figures.values())
    assert figures["ratio"] == pytest.approx(figures["whole_captions"] / figures["one_row_a_word"])
    first, second = built
    start = untrained()
    for model in (first, second):  # both have learned
        assert not torch.equal(model.output.weight, start.output.weight)
    assert first is not second
