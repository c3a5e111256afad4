"""FAISS for albums that are too large to compare a query with every vector: exact, HNSW or IVF-PQ, by their size.

- **flat**: every vector is looked at. Always right; time and memory grow with the album.
- **hnsw**: every vector knows some neighbours, and a search walks from one to the next towards the query with the best
  `effort` places in mind (Malkov and Yashunin, 2018). A hundred times faster, in more memory than flat.
- **ivf_pq**: vectors lie in lists around centres, of which a search reads the nearest `effort`, and each is stored as a
  byte for every four of its numbers (Jégou, Douze and Schmid, 2011). A sixteenth of the memory, and less exact.

What an approximate index misses cannot be seen in its answers. So recall is measured when it is built, against the
exact neighbours of some of its vectors; the effort is raised until it reaches `RECALL`, or nothing more can be had.

Beside the index lies a table of what is known of each photo, memory-mapped, since strings take more than vectors do.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.artefacts import Size, check, seal
from helpers.environment import memory
from helpers.files import InputError, atomic_path, native_write, of_the_machine, read_as, write_json
from helpers.scale.embedded import ABOUT, Embedded
from helpers.scale.filters import Filter, spaced
from helpers.search.index import asked_vectors, named_vectors, unit_vectors
from helpers.speed.search import bytes_of, recall

Kind = Literal["flat", "hnsw", "ivf_pq"]
MADE_BY = "`python -m helpers.scale index`"
RECALL = 0.95  # of the ten nearest; the effort is raised until it is reached
EFFORTS: dict[str, Sequence[int]] = {"flat": (0,), "hnsw": (16, 32, 64, 128, 256), "ivf_pq": (4, 8, 16, 32, 64, 128)}
FLAT_UP_TO = 100_000  # vectors: 5 ms a query on one core, and nothing to build
NEIGHBOURS = 16  # that a vector knows in HNSW; twice as many on the lowest of its floors
NUMBERS_A_BYTE = 4  # of IVF-PQ
QUERIES = 200  # that recall is measured with
_PER_LIST = 64  # vectors that a centre is learned from
_HARDLY = 0.005  # of recall
_NARROW = 0.1  # a filter that lets through less is better searched exhaustively
_VECTORS, _ROWS, _METADATA = "faiss_index.bin", "rows.arrow", "metadata.json"
_CLASSES = {"flat": faiss.IndexFlatIP, "hnsw": faiss.IndexHNSWFlat, "ivf_pq": faiss.IndexIVFPQ}
_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", *ABOUT, "words")])


@dataclass(frozen=True)
class _Metadata:
    fingerprint: str
    kind: Kind
    count: int
    width: Size
    effort: int
    recall: float | None


def kind_for(count: int, width: int, memory: int) -> Kind:
    """Which index suits `count` vectors where `memory` bytes are free."""
    if count <= FLAT_UP_TO:
        return "flat"
    return "hnsw" if 2 * count * vector_bytes("hnsw", width) <= memory else "ivf_pq"


def vector_bytes(kind: Kind, width: int) -> float:
    """Bytes that a vector of `width` numbers takes in an index of this kind, without what is shared by all."""
    if kind == "ivf_pq":
        return width / NUMBERS_A_BYTE + 8  # and its row
    links = 4 * (2 * NEIGHBOURS + NEIGHBOURS / (NEIGHBOURS - 1)) + 12  # one in 16 stands on the next floor, too
    return 4 * width + (links if kind == "hnsw" else 0)


class FaissIndex:
    """Ids and unit vectors, searched by cosine, behind the four methods of `search.index.Index`.

    Args:
        width: numbers in a vector.
        fingerprint: names the model that makes the vectors.
        kind: how they are kept; ivf_pq has to be trained on some of them before any is added.
        count: how many there will be, about; it decides the number of lists.

    Attributes:
        effort: how hard a search looks: places in mind (hnsw), or lists (ivf_pq).
        recall: share of the ten nearest that it finds, as it was measured when it was built; None: it was not.
    """

    def __init__(self, width: int, fingerprint: str = "", kind: Kind = "flat", count: int = 0) -> None:
        if kind not in get_args(Kind):
            raise InputError(f"There is no index of the kind {kind!r}; choose one of: {', '.join(get_args(Kind))}.")
        self.fingerprint, self.kind = fingerprint, kind
        self.effort, self.recall = EFFORTS[kind][0], 1.0 if kind == "flat" else None
        self._index = _new(kind, width, count)
        self._parts: list[pa.Table] = []

    def __len__(self) -> int:
        return self._index.ntotal

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._index.d

    @property
    def nbytes(self) -> int:
        """Bytes that the vectors take, in memory and on the disk alike."""
        return bytes_of(self._index)

    @property
    def rows(self) -> pa.Table:
        """What is known of the photos, in the order in which they were added."""
        if len(self._parts) != 1:  # else every search would add an empty part, and be slower than the one before
            self._parts = [pa.concat_tables([_SCHEMA.empty_table(), *self._parts])]
        return self._parts[0]

    def train(self, vectors: np.ndarray) -> None:
        """Learn from some `vectors` (M, width) how the others will lie; of an index that learns nothing, do nothing.

        Raises:
            InputError: they are too few to learn from.
        """
        if not self._index.is_trained:
            if len(vectors) < 256:
                raise InputError(
                    f"An index of the kind ivf_pq learns from 256 vectors or more, and got {len(vectors)}."
                )
            self._index.train(unit_vectors(vectors, self.width))

    def add(self, ids: Sequence[str], vectors: np.ndarray, about: pa.Table | None = None) -> None:
        """Add `vectors` (N, width) under `ids` (N), with what is known of each: the columns `embedded.ABOUT`.

        Raises:
            InputError: wrong shape, a vector without direction, or an index that has to be trained first.
        """
        unit = named_vectors(ids, vectors, self.width)
        if not self._index.is_trained:
            raise InputError("This index has to learn first how vectors lie; call `train` with some of them.")
        columns = {"id": pa.array(ids, pa.string())}
        for name in ABOUT:
            columns[name] = pa.nulls(len(ids), pa.string()) if about is None else about[name]
        said = columns["caption"].to_pylist()
        columns["words"] = pa.array([spaced(caption) for caption in said], pa.string())
        self._parts.append(pa.table(columns).cast(_SCHEMA))
        self._index.add(unit)

    def search(self, queries: np.ndarray, k: int, where: Filter | None = None) -> tuple[np.ndarray, list[list[str]]]:
        """The `k` nearest of each query among those that `where` lets through, nearest first; fewer if need be.

        Returns:
            Cosines (Q, k) and ids (Q lists of k). Those of an ivf_pq are close to cosines.

        Raises:
            InputError: the index is empty, `k` is below 1, or the queries are not finite vectors of this width.
        """
        scores, found = self.nearest(asked_vectors(queries, k, self), k, where)
        ids = self.rows["id"]  # asked one by one: `take` would put all its parts together first, for each query
        return scores, [[ids[row].as_py() for row in line] for line in found.tolist()]

    def nearest(self, unit: np.ndarray, k: int, where: Filter | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows (Q, k) of the nearest to `unit` vectors (Q, width): `search`, before rows become ids."""
        if where is None:
            return self._look(unit, min(k, len(self)), None)
        mask = where.mask(self.rows)  # (N,)
        k = min(k, int(mask.sum()))
        if k == 0:
            return np.empty((len(unit), 0), np.float32), np.empty((len(unit), 0), np.int64)
        bits = np.packbits(mask, bitorder="little")  # FAISS reads them where they are: they stay until it is done
        return self._look(unit, k, faiss.IDSelectorBitmap(bits), float(mask.mean()))

    def captions(self, ids: Sequence[str]) -> list[str | None]:
        """The captions of photos that were found."""
        wanted = pc.index_in(self.rows["id"], pa.array(ids, pa.string()))  # (N,), its place in `ids` or null
        rows = pc.indices_nonzero(pc.is_valid(wanted))
        said = dict(
            zip(self.rows["id"].take(rows).to_pylist(), self.rows["caption"].take(rows).to_pylist(), strict=True)
        )
        return [said[id_] for id_ in ids]

    def tune(self, rows: np.ndarray, queries: np.ndarray, nearest: np.ndarray) -> None:
        """Find the least effort that reaches `RECALL`, or hardly less than the most does; keep it, and its recall.

        Args:
            rows: (Q,), of photos in this index; -1 for what is none of them.
            queries: (Q, width), their vectors.
            nearest: (Q, K), the rows that are truly nearest to each; itself among them, which does not count.
        """
        k = nearest.shape[1]
        found: dict[int, float] = {}
        for effort in EFFORTS[self.kind]:
            self.effort = effort
            _, some = self.nearest(unit_vectors(queries, self.width), k)
            found[effort] = recall(_others(some, rows), _others(nearest, rows))
            if found[effort] >= RECALL:
                break
        least = min(RECALL, max(found.values()) - _HARDLY)  # what vectors of a few bytes lose, no effort brings back
        self.effort, self.recall = next((effort, share) for effort, share in found.items() if share >= least)

    def _look(
        self, unit: np.ndarray, k: int, selector: faiss.IDSelector | None, share: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `nearest`; where a selector lets a small `share` through, at all of them, which misses nothing."""
        narrow = share < _NARROW
        index, given = self._index, {"sel": selector} if selector else {}
        if self.kind == "ivf_pq":
            options = faiss.SearchParametersIVF(nprobe=index.nlist if narrow else self.effort, **given)
        elif self.kind == "hnsw" and not narrow:
            options = faiss.SearchParametersHNSW(efSearch=max(round(self.effort / share), k), **given)
        else:
            options = faiss.SearchParameters(**given)
            index = faiss.downcast_index(index.storage) if self.kind == "hnsw" else index
        scores, rows = index.search(unit, k, params=options)
        if (rows < 0).any() and not narrow:  # it met fewer than there are
            return self._look(unit, k, selector, share=0.0)
        return scores, rows

    def save(self, folder: Path) -> None:
        """Write `faiss_index.bin`, `rows.arrow` and `metadata.json` to `folder`, and seal them.

        Raises:
            InputError: an id is there twice, or the files cannot be written.
        """
        rows = self.rows
        if pc.count_distinct(rows["id"]).as_py() < len(rows):
            counts = rows["id"].value_counts()  # {values, counts}
            twice = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()["values"]
            raise InputError(f"The id {twice!r} would be in the index twice; ids must be unique.")
        with atomic_path(folder / _VECTORS) as temporary, native_write():
            faiss.write_index(self._index, str(temporary))
        with atomic_path(folder / _ROWS) as temporary, pa.ipc.new_file(temporary, _SCHEMA) as file:
            file.write_table(rows)
        facts = _Metadata(self.fingerprint, self.kind, len(self), self.width, self.effort, self.recall)
        write_json(folder / _METADATA, asdict(facts))
        seal(folder, _VECTORS, _ROWS, _METADATA)

    @classmethod
    def load(cls, folder: Path, fingerprint: str, mapped: bool | None = None) -> "FaissIndex":
        """The index saved in `folder`, for queries from the model named by `fingerprint`.

        Args:
            folder: where it was saved.
            fingerprint: of the model in use.
            mapped: leave vectors on the disk, and read what a search looks at. None: if they would take more than half
                of the memory that is free.

        Raises:
            InputError: there is none, its files are damaged or do not belong together, another model made it, or memory
                ran out.
        """
        check(MADE_BY, *(folder / name for name in (_METADATA, _VECTORS, _ROWS)))
        facts = read_as(_Metadata, folder / _METADATA, MADE_BY)
        if facts.fingerprint != fingerprint:
            raise InputError(
                f"The index in {folder} was built by another model ({facts.fingerprint}) than the one in use "
                f"({fingerprint}); name that one with --model and --precision, and its run with --profile or --run, or "
                "embed the photos again and index them."
            )
        path = folder / _VECTORS
        if mapped is None:
            mapped = 2 * path.stat().st_size > memory().available
        index = cls.__new__(cls)
        try:
            index._index = faiss.read_index(str(path), _mapping(facts.kind) if mapped else 0)
            index._parts = [pa.ipc.open_file(pa.memory_map(str(folder / _ROWS))).read_all()]
            whole = index._index.ntotal == len(index.rows) == facts.count and index.width == facts.width
        except (RuntimeError, MemoryError, pa.ArrowInvalid) as error:
            if spared := of_the_machine(error, path):
                raise spared from None
            whole = False
        if not whole or type(index._index) is not _CLASSES[facts.kind]:
            raise InputError(f"The files in {folder} are not one complete index; run {MADE_BY} again.")
        index.fingerprint, index.kind = fingerprint, facts.kind
        index.effort, index.recall = facts.effort, facts.recall
        return index


def build_faiss(photos: Embedded, folder: Path, kind: Kind, queries: np.ndarray | None = None) -> FaissIndex:
    """An index of this kind over everything that was embedded, tuned and saved in `folder`.

    Vectors pass by some thousands at a time, twice: a part of them to learn from, and then all.

    Args:
        photos: what was embedded.
        folder: where the index goes.
        kind: see above.
        queries: (Q, width), such as will be asked; recall is measured with them. None: with some of the photos. Texts
            lie elsewhere than photos: of 100,000, HNSW found 0.999 of the ten nearest to photos with an effort at
            which it found 0.944 of those nearest to texts.

    Raises:
        InputError: they are too few to learn from, an id is there twice, or the files cannot be written.
    """
    count = len(photos)
    index = FaissIndex(photos.width, photos.fingerprint, kind, count)
    rows, vectors = photos.sample(max(_PER_LIST * lists_for(count), 10_000) if kind == "ivf_pq" else QUERIES, seed=0)
    index.train(vectors)
    chosen = np.random.default_rng(1).permutation(len(rows))[:QUERIES]
    rows, asked = rows[chosen], unit_vectors(vectors[chosen], photos.width)
    if queries is not None:
        asked = unit_vectors(queries, photos.width)
        rows = np.full(len(asked), -1)  # none of them is a photo of this index
    nearest = faiss.ResultHeap(len(asked), min(11, count), keep_max=True)  # of all that pass by
    for part in photos.batches():
        first = len(index)
        scores, places = faiss.knn(
            asked, unit_vectors(part.vectors, index.width), min(nearest.k, len(part.ids)), faiss.METRIC_INNER_PRODUCT
        )
        nearest.add_result(scores, first + places)
        index.add(*part)
    nearest.finalize()
    if count > nearest.k:
        index.tune(rows, asked, nearest.I)
    index.save(folder)
    return index


def _others(found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of what was found for each of `rows`, (Q, K), the first K - 1 that are not the row itself."""
    return np.stack([line[line != row][: len(line) - 1] for line, row in zip(found, rows, strict=True)])


def lists_for(count: int) -> int:
    """As many as FAISS's own guidelines have it: a few times the square root, each with some vectors to learn from."""
    return max(1, min(65_536, round(4 * count**0.5), count // _PER_LIST))


def _new(kind: Kind, width: int, count: int) -> faiss.Index:
    if kind == "flat":
        return faiss.IndexFlatIP(width)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        return index
    if width % NUMBERS_A_BYTE:
        raise InputError(
            f"An index of the kind ivf_pq takes vectors of a multiple of {NUMBERS_A_BYTE}, not of {width}."
        )
    parts = width // NUMBERS_A_BYTE
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(width), width, lists_for(count), parts, 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = index.pq.cp.max_points_per_centroid = _PER_LIST
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # no warnings on standard error
    return index


def _mapping(kind: Kind) -> int:
    return faiss.IO_FLAG_MMAP if kind == "ivf_pq" else faiss.IO_FLAG_MMAP_IFC
