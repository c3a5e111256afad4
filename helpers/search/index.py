"""Search: the nearest vectors to a query, by FAISS, with the names of what they stand for.

All vectors are scaled to length 1, so the inner product of two is the cosine of the angle between them: 1 for the
same direction, 0 for unrelated ones. The index is flat: each query is compared with every vector, so the answers
are exact, and a few thousand comparisons take a fraction of a millisecond. Johnson, Douze and Jégou, "Billion-scale
similarity search with GPUs" (2017); Douze et al., "The Faiss library" (2024).

Hubs, entries that are near to everything, can be put in their place (`reranking.py`): each comes with how crowded it is
around it, and half of that is taken off where a search asks for it. FAISS keeps it as one more number behind the
vector, so that one inner product gives either score: a query ends with 1 to have it taken off, with 0 to leave it. What
is not wanted is taken off the query in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import faiss
import numpy as np
from PIL import Image

from helpers.artefacts import Size, check, seal
from helpers.data.images import resize_photo
from helpers.encoders.clip import ClipPair
from helpers.encoders.dual_encoder import EncoderPair
from helpers.encoders.fusion import FusionEncoder
from helpers.encoders.pretrained import PretrainedPair
from helpers.files import InputError, atomic_path, native_write, of_the_machine, read_as, write_json

MADE_BY = "notebook 06_search"
LONGEST = 2000  # characters of a query; a sentence encoder reads 100,000 for many seconds
UNWANTED = 0.5  # weight of what is not wanted; Rocchio, "Relevance feedback in information retrieval" (1971)
VECTORS, BINARY, METADATA = "embeddings.npy", "faiss_index.bin", "metadata.json"


@dataclass(frozen=True)
class _Metadata:
    fingerprint: str
    count: int
    width: Size
    ids: list[str]


class Index(Protocol):
    """What every index does, whatever it runs on; `scale/` has two more.

    Attributes:
        fingerprint: names the model that makes the vectors; vectors of another are not compared with them.
    """

    fingerprint: str

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Add `vectors` (N, width), of any length but 0, under `ids` (N)."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, list[list[str]]]:
        """The `k` nearest of each query (Q, width), nearest first: cosines (Q, k) and ids."""

    def save(self, place: Any) -> None:
        """Keep everything at `place`."""

    @classmethod
    def load(cls, place: Any, fingerprint: str) -> Self:
        """What was saved at `place`, for queries from the model named by `fingerprint`; another model's is refused."""


class SearchIndex:
    """Ids and unit vectors, searched by cosine, as an `Index`.

    Args:
        width: numbers in a vector.
        fingerprint: names the model that makes the vectors. Vectors of another model lie in another space, where
            every comparison gives a number and none means anything.

    >>> index = SearchIndex(2)
    >>> index.add(["east", "north"], np.array([[3.0, 0.0], [0.0, 1.0]]))
    >>> index.search(np.array([0.0, 2.0]), k=1)
    (array([[1.]], dtype=float32), [['north']])
    """

    def __init__(self, width: int, fingerprint: str = "") -> None:
        self.fingerprint = fingerprint
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._flat = faiss.IndexFlatIP(width + 1)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._flat.d - 1

    def add(self, ids: Sequence[str], vectors: np.ndarray, crowding: np.ndarray | float = 0.0) -> None:
        """Add `vectors` (N, width) under `ids` (N); they are scaled to length 1. All are added, or none.

        `crowding` (N,), as of `reranking.crowding`, is how near each is to everything.

        Raises:
            InputError: wrong shape, numbers that are not finite, a vector of zeros, or an id that is already there.
        """
        unit = named_vectors(ids, vectors, self.width)
        rows = {id_: row for row, id_ in enumerate(ids, start=len(self))}
        if len(rows) < len(ids) or not self._rows.keys().isdisjoint(rows):
            known = set(self._rows)
            twice = next(id_ for id_ in ids if id_ in known or known.add(id_))
            raise InputError(f"The id {twice!r} would be in the index twice; ids must be unique.")
        self._flat.add(self._with(unit, -np.broadcast_to(crowding, len(unit)) / 2))
        self.ids.extend(ids)
        self._rows |= rows

    def search(
        self, queries: np.ndarray, k: int, fair: bool = False, without: np.ndarray | None = None
    ) -> tuple[np.ndarray, list[list[str]]]:
        """The `k` nearest of each query, nearest first; all there are, if the index holds fewer.

        Args:
            queries: (Q, width), or (width,) for a single one; of any length but 0.
            k: how many.
            fair: take half of its crowding off the cosine of each entry.
            without: (width,), what is not wanted: UNWANTED times its score is taken off that of each entry.

        Returns:
            Scores (Q, k), which are cosines unless `fair` or `without`, and ids (Q lists of k).

        Raises:
            InputError: the index is empty, `k` is below 1, or the queries are not finite vectors of this width.
        """
        asked = self._with(asked_vectors(queries, k, self), fair)  # (Q, width + 1)
        if without is not None:
            unwanted = unit_vectors(without, self.width)
            asked -= UNWANTED * self._with(unwanted, True)  # of words, hence with hubs in their place
        scores, rows = self._flat.search(asked, min(k, len(self)))  # (Q, k) each
        return scores, [[self.ids[row] for row in line] for line in rows]

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """The unit vectors (N, width) of `ids`.

        Raises:
            InputError: an id is not in the index.
        """
        return self._entries(ids)[:, :-1]

    def crowding(self, ids: Sequence[str]) -> np.ndarray:
        """How crowded it is around `ids`, (N,), as they were added.

        Raises:
            InputError: an id is not in the index.
        """
        return -2 * self._entries(ids)[:, -1]

    def _entries(self, ids: Sequence[str]) -> np.ndarray:
        """Vectors of `ids` as FAISS keeps them, (N, width + 1).

        Raises:
            InputError: an id is not in the index.
        """
        missing = [id_ for id_ in ids if id_ not in self._rows]
        if missing:
            raise InputError(f"{missing[0]!r} is not in the index of {len(self):,} entries; check the id.")
        return self._flat.reconstruct_batch(np.array([self._rows[id_] for id_ in ids], np.int64))

    def save(self, folder: Path) -> None:
        """Write `embeddings.npy`, `faiss_index.bin` and `metadata.json` to `folder`, and seal them.

        The seal comes last, so that files of different indexes, left by a crash between two writes, are noticed when
        loading, and so are ids in another order than the vectors.
        """
        with atomic_path(folder / VECTORS) as temporary:
            np.save(temporary, self._flat.reconstruct_n(0, len(self))[:, :-1])
        with atomic_path(folder / BINARY) as temporary, native_write():
            faiss.write_index(self._flat, str(temporary))
        metadata = {"fingerprint": self.fingerprint, "count": len(self), "width": self.width, "ids": self.ids}
        write_json(folder / METADATA, metadata)
        seal(folder, VECTORS, BINARY, METADATA)

    @classmethod
    def load(cls, folder: Path, fingerprint: str) -> "SearchIndex":
        """The index saved in `folder`, for queries from the model named by `fingerprint`.

        Raises:
            InputError: there is none, its files are damaged or do not belong together, another model made it, or memory
                ran out.
        """
        check(MADE_BY, *(folder / name for name in (METADATA, VECTORS, BINARY)))
        metadata = read_as(_Metadata, folder / METADATA, MADE_BY)
        if metadata.fingerprint != fingerprint:
            raise InputError(
                f"The index in {folder} was built by another model ({metadata.fingerprint}) than the one in use "
                f"({fingerprint}); run {MADE_BY} again to build it anew."
            )
        index = cls(metadata.width, fingerprint)
        ids, width = metadata.ids, metadata.width
        try:
            flat = faiss.read_index(str(folder / BINARY))
        except (RuntimeError, MemoryError) as error:
            if spared := of_the_machine(error, folder / BINARY):
                raise spared from None
            flat = None
        exact = isinstance(flat, faiss.IndexFlat) and flat.metric_type == faiss.METRIC_INNER_PRODUCT
        if not exact or flat.d not in (width, width + 1) or not flat.ntotal == len(ids) == len(set(ids)):
            raise InputError(f"The files in {folder} are not one complete index; delete it and run {MADE_BY} again.")
        if flat.d == width:  # saved before entries brought their crowding along
            index.add(ids, flat.reconstruct_n(0, flat.ntotal))
            return index
        index._flat, index.ids = flat, ids
        index._rows = {id_: row for row, id_ in enumerate(ids)}
        return index

    def _with(self, unit: np.ndarray, last: np.ndarray | bool) -> np.ndarray:
        """`unit` (N, width) with `last`, one number or N, behind: (N, width + 1)."""
        wider = np.empty((len(unit), self.width + 1), np.float32)
        wider[:, :-1], wider[:, -1] = unit, last
        return wider


def unit_vectors(vectors: np.ndarray, width: int) -> np.ndarray:
    """`vectors`, one or several of any length but 0, as float32 (N, width) of length 1.

    Raises:
        InputError: they are not finite vectors of this width.
    """
    vectors = np.atleast_2d(np.asarray(vectors, np.float32))
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise InputError(f"Vectors of shape {vectors.shape} do not fit an index of width {width}.")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (N, 1)
    bad = ~(np.isfinite(lengths) & (lengths > 0))[:, 0]
    if bad.any():
        raise InputError(
            f"{bad.sum():,} of {len(vectors):,} vectors have no direction (NaN, infinite or all zeros), the first "
            f"in row {bad.argmax()}; check the model that made them."
        )
    return vectors / lengths


def named_vectors(ids: Sequence[str], vectors: np.ndarray, width: int) -> np.ndarray:
    """What is to be added to an index: `vectors` of length 1, (N, width), as many as there are `ids`.

    Raises:
        InputError: they are not, or are no finite vectors of this width.
    """
    unit = unit_vectors(vectors, width)
    if len(ids) != len(unit):
        raise InputError(f"{len(ids):,} ids came with {len(unit):,} vectors; give one id for each vector.")
    return unit


def asked_vectors(queries: np.ndarray, k: int, index: Any) -> np.ndarray:
    """What an index is searched with: `queries` of length 1, (Q, width).

    Raises:
        InputError: the index is empty, `k` is below 1, or the queries are not finite vectors of its width.
    """
    if not len(index):
        raise InputError("The index is empty; add vectors before searching.")
    if k < 1:
        raise InputError(f"k is {k}, but at least 1 result must be asked for.")
    return unit_vectors(queries, index.width)


def query_vector(
    pair: EncoderPair | PretrainedPair | FusionEncoder | ClipPair,
    text: str | None = None,
    photo: Image.Image | None = None,
    text_weight: float | None = None,
) -> np.ndarray:
    """One query (D,) from a text, a photo, or both.

    Args:
        pair: the model that the index was built with.
        text: a few words.
        photo: as from `load_photo`.
        text_weight: where both are given, the text's share in the sum of the two vectors, from 0 (the photo alone) to
            1 (the text alone). None: as the model would have it, joined by a fusion model, else the point midway.

    Raises:
        InputError: neither is given, the text has no words or is too long, or the weight is not from 0 to 1.
    """
    if text is None and photo is None:
        raise InputError("A query needs a text, a photo or both; give at least one.")
    if text is not None and len(text) > LONGEST:
        raise InputError(f"The text has {len(text):,} characters; ask with {LONGEST:,} at most.")
    if text_weight is not None and not 0 <= text_weight <= 1:
        raise InputError(f"The weight of the text is {text_weight}; choose a number from 0 to 1.")
    if photo is None:
        return pair.embed_texts([text])[0]
    square = pair.square(photo) if isinstance(pair, ClipPair) else np.array(resize_photo(photo, pair.photo_size))
    pixels = square[None]  # (1, S, S, 3)
    if text is None:
        return pair.embed_photos(pixels)[0]
    if text_weight is None:
        if isinstance(pair, FusionEncoder):
            return pair.embed(pixels, [text])[0]
        text_weight = 0.5
    return text_weight * pair.embed_texts([text])[0] + (1 - text_weight) * pair.embed_photos(pixels)[0]  # (D,)
