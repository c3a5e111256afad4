"""Milvus behind the four methods of an index: a file on this machine, or a cluster, by what the place is called.

    MilvusIndex.load("photos.db", fingerprint)                     # Milvus Lite, in this process
    MilvusIndex.load("http://milvus.example:19530", fingerprint)   # a cluster; its token is in MILVUS_TOKEN

What `add` has acknowledged is kept, whatever happens to the process; a photo that is added again takes the place of
what was there. Milvus Lite is exact, takes about the same time for one query as for fifty, so ask many at once, and
serves one process: it listens on this machine alone while the index is open. A cluster's own index is approximate.

Milvus: Wang et al., "Milvus: A Purpose-Built Vector Data Management System" (2021).
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from milvus_lite.server_manager import server_manager_instance as lite
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from helpers.files import InputError, first_line
from helpers.scale.embedded import ABOUT, Embedded
from helpers.scale.filters import Filter, spaced
from helpers.search.index import asked_vectors, named_vectors

COLLECTION = "photos"
LITE = ".db"  # what the name of a place ends in that is no cluster
_TOGETHER = 1000  # vectors in one call: a message of 64 MB is the most that a server takes
_LONGEST_ID, _LONGEST = 4096, 65_535  # bytes in UTF-8
_MADE_BY = "model"  # the property of the collection that holds the fingerprint

_opened: Counter[str] = Counter()  # how often each place is open in this process

for _name in ("pymilvus", "milvus_lite"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they print tracebacks of what is raised anyway


class MilvusIndex:
    """Ids and unit vectors in Milvus, searched by cosine, behind the four methods of `search.index.Index`.

    Args:
        place: a path that ends in .db, or an address of a cluster; a path behind the address is a database of it.
        fingerprint: names the model that makes the vectors; it is kept with the collection.
        width: numbers in a vector of an index that may have to be made. None: it has to be there.

    Raises:
        InputError: the place cannot be reached, another process has it, or another model's vectors are there.
    """

    def __init__(self, place: str | Path, fingerprint: str, width: int | None = None) -> None:
        self.place, self.fingerprint = str(place), fingerprint
        self._client = _connect(self.place, there=width is None)
        try:
            with _told(self.place):
                if not self._client.has_collection(COLLECTION):
                    self._create(width)
                self.width = self._check(width)
                self._client.load_collection(COLLECTION)  # one that was closed is not, when it is opened again
        except BaseException:
            self.close()
            raise

    def _create(self, width: int | None) -> None:
        if width is None:
            raise InputError(f"There is no index in {self.place} yet; make it with `python -m helpers.scale index`.")
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
        for name in ABOUT:
            schema.add_field(name, DataType.VARCHAR, max_length=_LONGEST, nullable=True)
        schema.add_field("words", DataType.VARCHAR, max_length=_LONGEST)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT" if _is_lite(self.place) else "AUTOINDEX", metric_type="COSINE")
        # Strong: whoever searches finds what was acknowledged before.
        self._client.create_collection(
            COLLECTION,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
            properties={_MADE_BY: self.fingerprint},
        )

    def _check(self, width: int | None) -> int:
        """The width of what is there."""
        found = self._client.describe_collection(COLLECTION)
        made_by = found.get("properties", {}).get(_MADE_BY)
        if made_by != self.fingerprint:
            raise InputError(
                f"The index in {self.place} was built by another model ({made_by}) than the one in use "
                f"({self.fingerprint}); name that one with --model and --precision, and its run with --profile or "
                "--run, or choose another place."
            )
        (there,) = (int(field["params"]["dim"]) for field in found["fields"] if field["name"] == "vector")
        if width not in (None, there):
            raise InputError(f"The index in {self.place} holds vectors of width {there}, not of {width}.")
        return there

    def __len__(self) -> int:
        with _told(self.place):
            return int(self._client.query(COLLECTION, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def add(self, ids: Sequence[str], vectors: np.ndarray, about: pa.Table | None = None) -> None:
        """Add `vectors` (N, width) under `ids` (N), with what is known of each: the columns `embedded.ABOUT`.

        What was there under an id is replaced. When this returns, everything is kept; when it is interrupted, a part
        may be, and the same call again is right.

        Raises:
            InputError: wrong shape, a vector without direction, an id that comes twice or is too long, no connection.
        """
        unit = named_vectors(ids, vectors, self.width)
        if len(set(ids)) < len(ids):
            twice = next(id_ for place, id_ in enumerate(ids) if id_ in ids[:place])
            raise InputError(f"The id {twice!r} would be in the index twice; ids must be unique.")
        long = next((id_ for id_ in ids if len(id_.encode()) > _LONGEST_ID), None)
        if long is not None:
            raise InputError(f"An id has at most {_LONGEST_ID:,} bytes here, and {long[:80]!r}... has more.")
        facts = about.to_pylist() if about is not None else [dict.fromkeys(ABOUT)] * len(ids)
        for first in range(0, len(ids), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            rows = [_entity(*row) for row in zip(ids[part], unit[part], facts[part], strict=True)]
            with _told(self.place):
                self._client.upsert(COLLECTION, rows)

    def search(self, queries: np.ndarray, k: int, where: Filter | None = None) -> tuple[np.ndarray, list[list[str]]]:
        """The `k` nearest of each query among those that `where` lets through, nearest first; fewer if need be.

        Returns:
            Cosines (Q, k) and ids (Q lists of k). Where a cluster finds fewer for a query, its cosines end in NaN.

        Raises:
            InputError: the index is empty, `k` is below 1, the queries do not fit, or the place cannot be reached.
        """
        asked = asked_vectors(queries, k, self)
        hits: list[Any] = []
        for first in range(0, len(asked), _TOGETHER):
            part = list(asked[first : first + _TOGETHER])
            expression = where.expression() if where else ""
            with _told(self.place):
                hits += self._client.search(COLLECTION, data=part, limit=k, filter=expression, output_fields=["id"])
        scores = np.full((len(asked), max(map(len, hits))), np.nan, np.float32)
        for row, line in enumerate(hits):
            scores[row, : len(line)] = [hit["distance"] for hit in line]
        return scores, [[hit["id"] for hit in line] for line in hits]

    def captions(self, ids: Sequence[str]) -> list[str | None]:
        """The captions of photos that were found."""
        with _told(self.place):
            rows = self._client.get(COLLECTION, ids=list(ids), output_fields=["caption"])
        said = {row["id"]: row["caption"] for row in rows}
        return [said[id_] for id_ in ids]

    def save(self, place: str | None = None) -> None:
        """Have what was added written out of the log into its place; it is safe before that, only slower to open.

        Raises:
            InputError: `place` is another than the index was made at.
        """
        if place is not None and str(place) != self.place:
            raise InputError(f"An index in Milvus stays where it was made, at {self.place}; make another at {place}.")
        with _told(self.place):
            self._client.flush(COLLECTION)

    @classmethod
    def load(cls, place: str | Path, fingerprint: str) -> Self:
        """The index at `place`, for queries from the model named by `fingerprint`.

        Raises:
            InputError: there is none, it cannot be reached, another process has it, or another model made it.
        """
        return cls(place, fingerprint)

    def close(self) -> None:
        """Let go of the connection, and of the file, which another process can then open."""
        self._client.close()
        if _is_lite(self.place):
            _opened[self.place] -= 1
            if not _opened[self.place]:  # all who opened it in this process share one server
                lite.release_server(self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build_milvus(photos: Embedded, place: str) -> MilvusIndex:
    """Everything that was embedded, added to the index at `place`, which is made if need be.

    Raises:
        InputError: the place cannot be reached, another process has it, or another model's vectors are there.
    """
    index = MilvusIndex(place, photos.fingerprint, photos.width)
    for rows in photos.batches():
        index.add(*rows)
    index.save()
    return index


def _entity(id_: str, vector: np.ndarray, about: dict[str, str | None]) -> dict[str, Any]:
    cut = {name: value and value.encode()[:_LONGEST].decode(errors="ignore") for name, value in about.items()}
    return {"id": id_, "vector": vector, "words": spaced(about["caption"]), **cut}


def _is_lite(place: str) -> bool:
    return "://" not in place


def _connect(place: str, there: bool = False) -> MilvusClient:
    if _is_lite(place):
        path = Path(place)
        if path.suffix != LITE:
            raise InputError(
                f"Milvus takes an address (http://...) or a path that ends in {LITE}, and {place} is neither."
            )
        if there and not path.exists():
            raise InputError(f"{place} does not exist; make it with `python -m helpers.scale index`.")
        if not path.parent.is_dir():
            raise InputError(f"{path.parent} is not a folder; an index is kept in one that is there.")
    try:
        client = MilvusClient(place, token=os.environ.get("MILVUS_TOKEN", ""))
        _opened[place] += 1
        return client
    except (MilvusException, ValueError, RuntimeError, OSError) as error:
        why = (
            "does another process have it open?" if _is_lite(place) else "is the server up, and is MILVUS_TOKEN right?"
        )
        raise InputError(f"The index in {place} cannot be opened ({_reason(error)}); {why}") from None


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What Milvus has to say, as one sentence."""
    try:
        yield
    except MilvusException as error:
        raise InputError(f"The index in {place} did not answer as it should ({_reason(error)}); try again.") from error


def _reason(error: Exception) -> str:
    return first_line(getattr(error, "message", "") or error)
