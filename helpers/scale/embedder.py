"""One shard of photos made into one Parquet file: what an actor does, here, on all cores or on many machines.

An embedder keeps nothing between two shards but its models, so any of them can make any shard, and one that died is
replaced by another. What it writes says by which models and from which files it was made; whoever finds it there and
agrees need not make it again. That is all the memory that the job has.

    vectors/NAME.parquet   id, key, width, height, vector, caption, label, split, model
    rejects/NAME.parquet   id, key, reason: what could not be used

The rejects are written first: where there are vectors, the rejects are whole.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import UnidentifiedImageError

from helpers.data.images import load_photo, open_header, upright_size
from helpers.environment import ahead, chunks, keep_freed_memory, pasted, set_threads
from helpers.files import InputError, atomic_path
from helpers.scale.sources import Item, Shard
from helpers.search.album_models import NO_CAPTIONS, models_of
from helpers.search.album_update import reason
from helpers.search.engine import PhotoSearch

VECTORS, REJECTS = "vectors", "rejects"
REJECT_SCHEMA = pa.schema([("id", pa.string()), ("key", pa.string()), ("reason", pa.string())])
_CHUNK = 64  # photos that the models look at together


@dataclass(frozen=True)
class Recipe:
    """What vectors are made with.

    Attributes:
        run: the outputs of a finished run; on a cluster under this path on all machines, with the run's data.
        model: finds photos, see `album_models.encoder_of`.
        captioner: says what is on them, see `album_models.describer_of`; NO_CAPTIONS: the source's own captions stay.
        precision: of the graphs.
        numbers: of a vector. In 16 bits the cosine to the vector in 32 is above 0.9999, in half of the space.
    """

    run: Path
    model: str = "pretrained"
    captioner: str = NO_CAPTIONS
    precision: str = "fp32"
    numbers: Literal["float16", "float32"] = "float16"

    @property
    def options(self) -> str:
        """As `python -m helpers.scale embed` takes them."""
        return pasted(word for name, value in vars(self).items() for word in (f"--{name}", str(value)))


class Embedder:
    """The models of a recipe, ready on `threads` threads.

    Raises:
        InputError: a model is missing, or cannot be had.
    """

    def __init__(self, recipe: Recipe, threads: int) -> None:
        set_threads(threads)
        keep_freed_memory()  # of a decoded photo, for the next one
        self._recipe, self._threads = recipe, threads
        run = PhotoSearch(recipe.run)
        self.encoder, self.captioner = models_of(run, recipe.model, recipe.captioner, recipe.precision)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What the file of each shard says of its making, beside `made_from`."""
        captioner = NO_CAPTIONS if self.captioner is None else self.captioner.fingerprint
        return {"fingerprint": self.encoder.fingerprint, "captioner": captioner, "options": self._recipe.options}

    def made_from(self, shard: Shard) -> str:
        """Twelve hex digits that stand for the models, the kind of numbers and the files of a shard."""
        models = [one.fingerprint for one in (self.encoder, self.captioner) if one is not None]
        together = "\n".join([*models, self._recipe.numbers, shard.stamp])
        return hashlib.sha256(together.encode()).hexdigest()[:12]

    def __call__(self, shard: Shard, out: Path) -> float:
        """Make `shard`, and write it to the folder `out`; the seconds that it took.

        Raises:
            InputError: it cannot be written.
        """
        start = perf_counter()
        rows: list[_Row] = []
        rejects: list[tuple[str, str, str]] = []
        opened = ahead(self._open, _unique(shard.items()), 2 * _CHUNK, self._threads)
        for chunk in chunks(opened, _CHUNK):
            rejects += [(one.item.id, one.item.key, one.item.problem) for one in chunk if not one.squares]
            rows += self._look([one for one in chunk if one.squares])
        self._write(shard, out, rows, rejects)
        return perf_counter() - start

    @cached_property
    def _squares(self) -> list[Callable]:
        """How a photo becomes what the models take; models that want the same have the same function."""
        return list(dict.fromkeys(one.square for one in (self.encoder, self.captioner) if one is not None))

    @cached_property
    def _size(self) -> int:
        return max(one.photo_size for one in (self.encoder, self.captioner) if one is not None)

    def _open(self, item: Item) -> "_Opened":
        if item.problem:
            return _Opened(item)
        name = item.key if isinstance(item.content, bytes) else str(item.content)
        try:
            photo = load_photo(item.content, self._size, name)
            size = _upright_size(item.content) or photo.size
            return _Opened(item, size, tuple(square(photo) for square in self._squares))
        except InputError as error:
            return _Opened(_rejected(item, reason(str(error), name)))

    def _look(self, chunk: "list[_Opened]") -> "list[_Row]":
        """What the models make of photos."""
        if not chunk:
            return []
        pixels = [np.stack(one) for one in zip(*(photo.squares for photo in chunk), strict=True)]  # (N, S, S, 3) each
        vectors = self.encoder.embed_photos(pixels[0]).astype(self._recipe.numbers)  # (N, D)
        captions = self.captioner.caption_photos(pixels[-1]) if self.captioner else [one.item.caption for one in chunk]
        return [_Row(one.item, one.size, *made) for one, *made in zip(chunk, vectors, captions, strict=True)]

    def _write(self, shard: Shard, out: Path, rows: "list[_Row]", rejects: list[tuple[str, str, str]]) -> None:
        rejected = out / REJECTS / f"{shard.name}.parquet"
        if rejects:
            columns = [pa.array(column, pa.string()) for column in zip(*rejects, strict=True)]
            with atomic_path(rejected) as temporary:
                pq.write_table(pa.Table.from_arrays(columns, schema=REJECT_SCHEMA), temporary)
        else:
            rejected.unlink(missing_ok=True)  # of another time
        about = {"made_from": self.made_from(shard), **self.facts}
        table = _table(rows, self.encoder.fingerprint, self._recipe.numbers).replace_schema_metadata(about)
        with atomic_path(shard_file(out, shard.name)) as temporary:
            pq.write_table(table, temporary, compression="zstd")


class _Opened(NamedTuple):
    """A photo as the models take it; without squares it cannot be used, and its item says why."""

    item: Item
    size: tuple[int, int] = (0, 0)
    squares: tuple[np.ndarray, ...] = ()


class _Row(NamedTuple):
    item: Item
    size: tuple[int, int]
    vector: np.ndarray  # (D,)
    caption: str | None


def shard_file(out: Path, name: str) -> Path:
    """Where the vectors of a shard are."""
    return out / VECTORS / f"{name}.parquet"


def _table(rows: list[_Row], fingerprint: str, numbers: str) -> pa.Table:
    items = [row.item for row in rows]
    vectors = np.stack([row.vector for row in rows]) if rows else np.empty((0, 1), numbers)
    sizes = np.array([row.size for row in rows], np.int32).reshape(-1, 2)
    columns = {
        "id": pa.array([item.id for item in items], pa.string()),
        "key": pa.array([item.key for item in items], pa.string()),
        "width": pa.array(sizes[:, 0]),
        "height": pa.array(sizes[:, 1]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "caption": pa.array([row.caption for row in rows], pa.string()),
        "label": pa.array([item.label for item in items], pa.string()),
        "split": pa.array([item.split for item in items], pa.string()),
        "model": pa.array([fingerprint] * len(rows), pa.string()),
    }
    return pa.table(columns)


def _upright_size(content: Path | bytes) -> tuple[int, int] | None:
    """Width and height of the whole photo as it is shown, from its header; None: it does not begin with one."""
    try:
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            return upright_size(open_header(file))
    except UnidentifiedImageError:
        return None


def _rejected(item: Item, problem: str) -> Item:
    return Item(item.id, item.key, problem=problem)


def _unique(items: Iterable[Item]) -> Iterator[Item]:
    known: set[str] = set()
    for item in items:
        yield item if item.id not in known else _rejected(item, "another photo of its shard has its id")
        known.add(item.id)
