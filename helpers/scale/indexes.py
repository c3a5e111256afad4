"""Which index: FAISS in a folder, Milvus Lite in a `.db`, or Milvus on a cluster, by what its place is called.

build_index(Embedded(Path("embedded")), "index")                # FAISS
build_index(Embedded(Path("embedded")), "index.db")             # Milvus Lite
open_index("http://milvus.example:19530", fingerprint)          # a cluster
"""

from pathlib import Path

import numpy as np

from helpers.environment import memory
from helpers.files import InputError
from helpers.scale.embedded import Embedded
from helpers.scale.faiss_index import FaissIndex, Kind, build_faiss, kind_for
from helpers.scale.milvus_index import LITE, MilvusIndex, build_milvus


def is_milvus(place: str) -> bool:
    """Whether an index at `place` is one of Milvus."""
    return "://" in place or place.endswith(LITE)


def kind_at(place: str, photos: Embedded, kind: Kind | None = None) -> Kind | None:
    """Which kind of index `photos` will have at `place`: `kind`, or what suits their number; None for Milvus.

    Raises:
        InputError: `kind` is given for Milvus.
    """
    if not is_milvus(place):
        return kind or kind_for(len(photos), photos.width, memory().available)
    if kind is not None:
        raise InputError(f"Milvus chooses its index by itself; {kind!r} is a kind of FAISS.")
    return None


def build_index(
    photos: Embedded, place: str, kind: Kind | None = None, queries: np.ndarray | None = None
) -> FaissIndex | MilvusIndex:
    """An index over everything that was embedded, kept at `place`.

    Args:
        photos: what was embedded.
        place: a folder, a path that ends in .db, or an address.
        kind: of a FAISS index; None: by size.
        queries: (Q, width), which an approximate index measures its recall with, see `build_faiss`.

    Raises:
        InputError: `kind` is given for Milvus, or as of `build_faiss` and `build_milvus`.
    """
    kind = kind_at(place, photos, kind)
    return build_milvus(photos, place) if kind is None else build_faiss(photos, Path(place), kind, queries)


def open_index(place: str, fingerprint: str) -> FaissIndex | MilvusIndex:
    """The index at `place`, for queries from the model named by `fingerprint`.

    Raises:
        InputError: there is none, it is damaged or cannot be reached, or another model made it.
    """
    return MilvusIndex.load(place, fingerprint) if is_milvus(place) else FaissIndex.load(Path(place), fingerprint)
