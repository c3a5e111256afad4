"""Which index: FAISS in a folder, Milvus Lite in a `.db`, or Milvus on a cluster, by what its place is called.

build_index(Embedded(Path("embedded")), "index")                # FAISS
build_index(Embedded(Path("embedded")), "index.db")             # Milvus Lite
open_index("http://milvus.example:19530", fingerprint)          # a cluster
"""

from pathlib import Path

from helpers.files import InputError
from helpers.scale.embedded import Embedded
from helpers.scale.faiss_index import FaissIndex, Kind, build_faiss
from helpers.scale.milvus_index import LITE, MilvusIndex, build_milvus


def is_milvus(place: str) -> bool:
    """Whether an index at `place` is one of Milvus."""
    return "://" in place or place.endswith(LITE)


def build_index(photos: Embedded, place: str, kind: Kind | None = None) -> FaissIndex | MilvusIndex:
    """An index over everything that was embedded, kept at `place`.

    Args:
        photos: what was embedded.
        place: a folder, a path that ends in .db, or an address.
        kind: of a FAISS index; None: by size.

    Raises:
        InputError: `kind` is given for Milvus, or as of `build_faiss` and `build_milvus`.
    """
    if not is_milvus(place):
        return build_faiss(photos, Path(place), kind)
    if kind is not None:
        raise InputError(f"Milvus chooses its index by itself; {kind!r} is a kind of FAISS.")
    return build_milvus(photos, place)


def open_index(place: str, fingerprint: str) -> FaissIndex | MilvusIndex:
    """The index at `place`, for queries from the model named by `fingerprint`.

    Raises:
        InputError: there is none, it is damaged or cannot be reached, or another model made it.
    """
    return MilvusIndex.load(place, fingerprint) if is_milvus(place) else FaissIndex.load(Path(place), fingerprint)
