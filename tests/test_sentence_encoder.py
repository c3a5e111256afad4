"""Sentence encoder: against the package itself, what its vectors mean, and the cache on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import sentence_encoder
from helpers.files import InputError
from helpers.sentence_encoder import embed_sentences, saved_sentences

TEXTS = [
    "a dog runs on the grass",
    "a puppy is running across a lawn",
    "the stock market fell by two percent",
    "a boat on a lake",
    "two boys play football in the park",
]


def test_vectors_are_those_of_the_package_whatever_the_company() -> None:
    vectors = embed_sentences(TEXTS)
    assert vectors.shape == (5, 512) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    package = sentence_encoder._encoder(torch.get_num_threads())
    np.testing.assert_allclose(vectors, [package.encode(text) for text in TEXTS], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_case_and_punctuation_do_not_count() -> None:
    written, plain = embed_sentences(["A dog runs , on the grass !", "a dog runs on the grass"])
    np.testing.assert_allclose(written, plain, atol=1e-6)


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(InputError, match=r"'\.\.\.' has no words"):
        embed_sentences(["a dog", "..."])


def test_threads_follow_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert sentence_encoder._encoder(torch.get_num_threads()).threads == 3


def test_saved_sentences_are_read_once_and_an_interrupted_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_encoder, "_CHUNK", 2)
    expected, path = embed_sentences(TEXTS), tmp_path / "new" / "sentences.npy"
    read: list[int] = []

    def counting(texts: list[str]) -> np.ndarray:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(len(texts))
        return embed_sentences(texts)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sentence_encoder, "embed_sentences", counting)
        saved_sentences(TEXTS, path)
    assert read == [2, 2]
    read.clear()
    monkeypatch.setattr(sentence_encoder, "embed_sentences", counting)
    np.testing.assert_allclose(saved_sentences(TEXTS, path), expected, atol=1e-6)
    assert read == [1]
    saved_sentences(TEXTS, path)
    assert read == [1]
    read.clear()
    np.testing.assert_allclose(saved_sentences(TEXTS[::-1][:3], path), expected[::-1][:3], atol=1e-6)
    assert read == [2, 1]
