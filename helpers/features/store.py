"""Features: what a frozen backbone sees in each photo, computed once and read by every later stage.

<backbone>.pkl         {photo id: float32 vector}
<backbone>_grid.npy    float16 (N, regions, channels), of which rows are read when they are asked for
<backbone>_grid.json   ids in row order, and what the rows were made from
<backbone>_mirrored*   the same of the photos turned left to right, to train on
"""

import copy
import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import openvino as ov
import torch
from numpy.lib.format import open_memmap

from helpers.artefacts import check, intact, seal
from helpers.data.images import load_photo, resize_photo
from helpers.data.manifest import MADE_BY as LISTED_BY
from helpers.devices import CPU, chosen_device, to_device
from helpers.environment import ahead, keep_freed_memory, progress
from helpers.features.backbones import Backbone
from helpers.features.rows import Rows
from helpers.files import (
    InputError,
    as_file_name,
    check_space,
    digest,
    load_pickle,
    read_as,
    read_json,
    reading,
    reserved_memmap,
    save_pickle,
    write_json,
    write_out,
)
from helpers.graphs import RequestQueue, compile_graph, convert, request_queue

MADE_BY = "notebook 02_features"
_CHUNK = 256  # photos between two notes of how far the extraction has come
_AHEAD = 32  # photos decoded ahead of the network
_BATCH = 64  # photos that a GPU looks at together


class HasPath(Protocol):
    """Anything with an id and a path: `Photo` and `ClassPhoto`."""

    id: str
    path: Path


@dataclass(frozen=True)
class _Rows:
    """What stands beside a grid."""

    ids: list[str]
    backbone: str
    photo_size: str
    weights: str
    photos: str
    engine: str = ""  # what ran the network; no part of what decides the features


@dataclass(frozen=True)
class Features:
    """Vectors and grids of photos, row by row.

    Attributes:
        ids: photo ids in row order.
        vectors: float32 (N, D).
        grid: float16 (N, R, C), on disk, or in memory.
        looked_at: how many photos `extract_features` looked at for this; those it found there already do not count.
    """

    ids: list[str]
    vectors: np.ndarray
    grid: np.ndarray | Rows
    looked_at: int = 0

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Row numbers of photos.

        Raises:
            InputError: a photo has no features.
        """
        place = {photo_id: row for row, photo_id in enumerate(self.ids)}
        missing = [photo_id for photo_id in ids if photo_id not in place]
        if missing:
            raise InputError(
                f"{len(missing):,} photos have no features, for example {missing[0]}; run notebook 02_features again."
            )
        return np.array([place[photo_id] for photo_id in ids], np.int64)


def together(*parts: tuple[Features, Sequence[str]]) -> Features:
    """Some photos of one set of features and some of another as one, in memory, in the order given.

    Args:
        parts: features, and the ids of the photos to take from them; all of the same backbone.
    """
    rows = [(features, features.rows(ids)) for features, ids in parts]
    return Features(
        [photo_id for _, ids in parts for photo_id in ids],
        np.concatenate([features.vectors[row] for features, row in rows]),
        np.concatenate([features.grid[row] for features, row in rows]),
    )


def extract_features(
    photos: Sequence[HasPath], backbone: Backbone, folder: Path, mirrored: bool = False, stem: Features | None = None
) -> Features:
    """Vectors and grids of all `photos`, or of their mirror images, written to `folder` and returned.

    On the processor the network runs in OpenVINO, with one photo a request on every core; on a GPU it runs in PyTorch,
    many photos at a time; in float32 both, so that the vectors agree. The next photos are decoded meanwhile. An
    interrupted extraction goes on where it stopped, on either. Features that are already there for the same photos and
    backbone are returned at once.

    Args:
        photos: what to look at.
        backbone: who looks.
        folder: where the features are kept.
        mirrored: look at the photos turned left to right.
        stem: what the stem of `backbone` has seen of all of them, turned the same way: then no photo is opened, and
            only the last layers run. Since the stem's features are kept in 16 bits, what they make of it differs
            from what they make of the photo in the fourth digit.

    Raises:
        InputError: a photo cannot be read, or has no features in `stem`.
    """
    name = _name(backbone.name, mirrored)
    provenance = _made_from(photos, backbone, mirrored)
    if _provenance(folder, name) == provenance:
        return load_features(folder, backbone.name, mirrored)
    ids = [photo.id for photo in photos]
    if stem is not None:
        stem.rows(ids)  # which refuses photos that it has not seen, before anything is written
    keep_freed_memory()  # of a decoded photo, for the next one
    partial = folder / f"{name}.partial"
    engine, looked_at = _fill(partial, provenance, photos, backbone, mirrored, stem)
    vectors = np.asarray(np.load(partial / "vectors.npy", mmap_mode="r"))  # read while it is written
    save_pickle(folder / f"{name}.pkl", dict(zip(ids, vectors, strict=True)))
    (partial / "grid.npy").replace(folder / f"{name}_grid.npy")
    write_json(folder / f"{name}_grid.json", {"ids": ids} | provenance | {"engine": engine})
    del vectors  # Windows removes no file that is mapped
    seal(folder, *_files(name))
    shutil.rmtree(partial)
    return replace(load_features(folder, backbone.name, mirrored), looked_at=looked_at)


def check_disk(photos: Sequence[HasPath], backbones: Iterable[Backbone], folder: Path, mirrored: bool) -> None:
    """Refuse to begin when what all these backbones see of `photos` does not fit on the disk.

    Raises:
        InputError: it does not.
    """
    size = 0
    for backbone, turned in product(backbones, (False, True) if mirrored else (False,)):
        name = _name(backbone.name, turned)
        if _provenance(folder, name) != _made_from(photos, backbone, turned):
            row = 2 * 4 * backbone.vector_width + 2 * math.prod(backbone.grid_shape)  # vectors twice: .partial and .pkl
            partial = folder / f"{name}.partial"
            taken = sum(path.stat().st_size for path in partial.glob("*.npy"))  # by an extraction that was interrupted
            size += max(0, len(photos) * row - taken)
    check_space(folder, size, "features")


def _made_from(photos: Sequence[HasPath], backbone: Backbone, mirrored: bool) -> dict[str, str]:
    """What decides the features: noted beside them, and compared before they are used again."""
    return {
        "backbone": _name(backbone.name, mirrored),
        "photo_size": str(backbone.photo_size),
        "weights": _weights_fingerprint(backbone),
        "photos": _contents(photos),
    }


def _name(backbone_name: str, mirrored: bool) -> str:
    """What the names of the files begin with."""
    return as_file_name(f"{backbone_name}_mirrored" if mirrored else backbone_name)


def _fill(
    partial: Path,
    provenance: dict[str, str],
    photos: Sequence[HasPath],
    backbone: Backbone,
    mirrored: bool,
    stem: Features | None,
) -> tuple[str, int]:
    """Run the backbone over `photos` into memory-mapped files in `partial`, noting now and then how far it is.

    Returns what ran it, which may be several engines where it was interrupted, and how many photos were left to do.
    """
    vectors, grid, done, before = _open_partial(partial, provenance, len(photos), backbone)
    device = chosen_device()
    engine = f"OpenVINO {version('openvino')}" if device == CPU else f"PyTorch {torch.__version__} on {device.type}"
    engine = " and ".join(dict.fromkeys([*before.split(" and "), engine] if before else [engine]))

    def store(row: int, vector: np.ndarray, regions: np.ndarray) -> None:
        vectors[row], grid[row] = vector, regions

    who = backbone, stem, store
    with _requests(*who) if device == CPU else nullcontext(_Batches(*who, device)) as queue:
        for row, seen in _inputs(photos, backbone, mirrored, stem, done):
            queue.start_async({0: seen[None]}, row)  # waits while all requests are busy
            if (row + 1) % _CHUNK == 0 or row + 1 == len(photos):
                queue.wait_all()
                write_out(vectors)
                write_out(grid)
                write_json(partial / "progress.json", provenance | {"done": row + 1, "engine": engine})
    return engine, len(photos) - done


def load_features(folder: Path, backbone_name: str, mirrored: bool = False) -> Features:
    """The features that `extract_features` wrote; the grid stays on disk until rows of it are read.

    Raises:
        InputError: they do not exist, are damaged or do not fit together.
    """
    name = _name(backbone_name, mirrored)
    check(MADE_BY, *(folder / file for file in _files(name)))
    by_id = load_pickle(folder / f"{name}.pkl")
    rows = read_as(_Rows, folder / f"{name}_grid.json", MADE_BY)
    ids, made_from = rows.ids, f"{rows.backbone} {rows.photo_size} {rows.weights} {rows.photos}"
    grid = Rows(folder / f"{name}_grid.npy", MADE_BY, made_from=made_from)
    if not _vectors(by_id) or list(by_id) != ids or len(grid) != len(ids):
        raise InputError(
            f"The {name} files in {folder} do not belong together; delete them and run notebook 02_features."
        )
    vectors = np.empty((len(ids), *next(iter(by_id.values())).shape), np.float32)
    for row, photo_id in enumerate(ids):
        vectors[row] = by_id.pop(photo_id)  # and let go of, or all would be there twice
    return Features(ids, vectors, grid)


def load_views(folder: Path, backbone_name: str, mirrored: bool) -> list[Features]:
    """The photos as they are and, with `mirrored`, turned left to right: what a model may see of them in training.

    Raises:
        InputError: as of `load_features`.
    """
    return [load_features(folder, backbone_name, turned) for turned in ((False, True) if mirrored else (False,))]


def features_file(backbone_name: str) -> str:
    """The file of a run's outputs folder that holds what this backbone sees of the photos."""
    return f"features/{_name(backbone_name, False)}.pkl"


def photo_features(backbone: Backbone, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vector (D,) and grid (R, C) of one photo given as uint8 (S, S, 3)."""
    with torch.inference_mode():
        vectors, grid = backbone(to_device(photo[None].copy(), backbone))
    return vectors[0].cpu().numpy(), grid[0].cpu().numpy()


Store = Callable[[int, np.ndarray, np.ndarray], None]  # row, vector, grid


@contextmanager
def _requests(backbone: Backbone, stem: Features | None, store: Store) -> Iterator[RequestQueue]:
    """A queue of requests to the backbone in OpenVINO, whose answers are stored."""

    def answered(request: ov.InferRequest, row: int) -> None:
        store(row, *(request.get_output_tensor(number).data[0] for number in (0, 1)))

    with request_queue(_compile(backbone, stem), answered) as queue:
        yield queue


class _Batches:
    """The same of the backbone in PyTorch: photos are collected, and looked at together."""

    def __init__(self, backbone: Backbone, stem: Features | None, store: Store, device: torch.device) -> None:
        self._network, self._store = copy.deepcopy(backbone).to(device), store
        self._look = self._network.forward if stem is None else self._network.finish
        self._rows: list[int] = []
        self._pixels: list[np.ndarray] = []

    def start_async(self, inputs: dict[int, np.ndarray], row: int) -> None:
        self._rows.append(row)
        self._pixels.append(inputs[0])
        if len(self._rows) == _BATCH:
            self.wait_all()

    @torch.inference_mode()
    def wait_all(self) -> None:
        if self._rows:
            photos = to_device(np.concatenate(self._pixels), self._network)  # (B, S, S, 3), or (B, R, C) of a stem
            seen = (part.cpu().numpy() for part in self._look(photos))
            for found in zip(self._rows, *seen, strict=True):
                self._store(*found)
            self._rows, self._pixels = [], []


def _compile(backbone: Backbone, stem: Features | None) -> ov.CompiledModel:
    """The backbone, or what of it comes after its stem, in OpenVINO: it takes one photo a request, a request a core."""
    if stem is None:
        look, example = backbone.forward, torch.zeros(1, backbone.photo_size, backbone.photo_size, 3, dtype=torch.uint8)
    else:
        look, example = backbone.finish, torch.zeros(1, *stem.grid.shape[1:])
    model = convert(backbone, look, [example])
    model.reshape(list(example.shape))
    # Float32: in bfloat16 the vectors' cosine to these is about 0.996.
    return compile_graph(model, arithmetic="f32", hint="THROUGHPUT")


def _inputs(
    photos: Sequence[HasPath], backbone: Backbone, mirrored: bool, stem: Features | None, done: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows from `done` on: their numbers, and photos uint8 (S, S, 3), or what the stem saw of them, float32 (R, C).

    A few photos ahead are decoded in the background.
    """

    def decode(photo: HasPath) -> np.ndarray:
        pixels = resize_photo(load_photo(photo.path, backbone.photo_size), backbone.photo_size)
        return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels

    if stem is None:
        inputs = ahead(decode, photos[done:], _AHEAD)
    else:
        rows = stem.rows([photo.id for photo in photos])[done:]
        inputs = (stem.grid[row].astype(np.float32) for row in rows)
    yield from enumerate(progress(inputs, "extracting features", len(photos) - done, "photo"), start=done)


def _open_partial(
    partial: Path, provenance: dict[str, str], count: int, backbone: Backbone
) -> tuple[np.memmap, np.memmap, int, str]:
    """Memory-mapped vectors and grid to fill, how many rows are already done, and by which engine."""
    vectors, grid, progress_file = partial / "vectors.npy", partial / "grid.npy", partial / "progress.json"
    if progress_file.exists():
        content = read_json(progress_file)
        done, engine = content.pop("done"), content.pop("engine", "")
        # The grid is moved to its place before this folder is removed; between the two there is nothing to go on with.
        if content == provenance and grid.exists():
            print(f"{backbone.name}: going on after {done:,} of {count:,} photos.")
            return open_memmap(vectors, "r+"), open_memmap(grid, "r+"), done, engine
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return (
        reserved_memmap(vectors, np.float32, (count, backbone.vector_width)),
        reserved_memmap(grid, np.float16, (count, *backbone.grid_shape)),
        0,
        "",
    )


def _files(name: str) -> tuple[str, str, str]:
    return f"{name}.pkl", f"{name}_grid.npy", f"{name}_grid.json"


def _vectors(by_id: Any) -> bool:
    """Whether this is what a feature file holds: a mapping to float32 vectors of one width."""
    if not isinstance(by_id, dict) or not all(isinstance(vector, np.ndarray) for vector in by_id.values()):
        return False
    kinds = {(vector.dtype, vector.shape) for vector in by_id.values()}
    return len(kinds) == 1 and all(dtype == np.float32 and len(shape) == 1 for dtype, shape in kinds)


def _provenance(folder: Path, name: str) -> dict[str, str] | None:
    """What the features that are there were made from; None: they are not, or damaged."""
    files = [folder / file for file in _files(name)]
    if not all(path.exists() for path in files) or not intact(*files):
        return None
    rows = asdict(read_as(_Rows, folder / f"{name}_grid.json", MADE_BY))
    del rows["ids"], rows["engine"]
    return rows


def _contents(photos: Sequence[HasPath]) -> str:
    """Fingerprint of ids and contents of the photos: changes when any photo does, and not with place or time.

    Raises:
        InputError: a photo is gone, or cannot be read.
    """

    def content_of(photo: HasPath) -> bytes:
        with reading(photo.path, LISTED_BY):
            return digest(photo.path)

    together = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        for photo, content in zip(photos, pool.map(content_of, photos), strict=True):
            together.update(f"{photo.id}\n".encode() + content)
    return together.hexdigest()[:12]


def _weights_fingerprint(backbone: Backbone) -> str:
    digest = hashlib.sha256()
    for tensor in backbone.state_dict().values():
        digest.update(tensor.cpu().numpy())
    return digest.hexdigest()[:12]
