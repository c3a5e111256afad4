"""Features: what a frozen backbone sees in each photo, computed once and read by every later stage.

<backbone>.pkl         {photo id: float32 vector}
<backbone>_grid.npy    float16 (N, regions, channels), memory-mapped, so that memory stays flat
<backbone>_grid.json   ids in row order, and what the rows were made from
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from helpers.backbones import Backbone
from helpers.environment import autocast, cores, progress
from helpers.files import InputError, load_pickle, read_json, save_pickle, write_json
from helpers.images import load_photo, resize_photo

_CHUNK = 256  # photos between two notes of how far the extraction has come


class HasPath(Protocol):
    """Anything with an id and a path: `Photo` and `ClassPhoto`."""

    id: str
    path: Path


@dataclass(frozen=True)
class Features:
    """Vectors and grids of photos, row by row.

    Attributes:
        ids: photo ids in row order.
        vectors: float32 (N, D).
        grid: float16 (N, R, C), memory-mapped, or None if the backbone has no grid.
    """

    ids: list[str]
    vectors: np.ndarray
    grid: np.ndarray | None

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


def extract_features(photos: Sequence[HasPath], backbone: Backbone, folder: Path, batch_size: int = 32) -> Features:
    """Vectors and grids of all `photos`, written to `folder` and returned.

    An interrupted extraction goes on where it stopped. Features that are already there for the same photos and
    backbone are returned at once.

    Raises:
        InputError: a photo cannot be read.
    """
    provenance = {"backbone": backbone.name, "weights": _weights_fingerprint(backbone), "photos": _stamps(photos)}
    if _provenance(folder, backbone.name) == provenance:
        return load_features(folder, backbone.name)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{backbone.name}.partial"
    arrays, done = _open_partial(partial, provenance, len(photos), backbone)
    with torch.inference_mode(), autocast():
        for start, pixels in _batches(photos, backbone.photo_size, batch_size, done):
            vectors, grid = backbone(torch.from_numpy(pixels))
            stop = start + len(pixels)
            arrays["vectors"][start:stop] = vectors.float().numpy()
            if grid is not None:
                arrays["grid"][start:stop] = grid.float().numpy()
            if stop % _CHUNK < batch_size or stop == len(photos):
                for array in arrays.values():
                    array.flush()
                write_json(partial / "progress.json", provenance | {"done": stop})

    ids = [photo.id for photo in photos]
    save_pickle(folder / f"{backbone.name}.pkl", {i: np.array(v) for i, v in zip(ids, arrays["vectors"], strict=True)})
    if "grid" in arrays:
        (partial / "grid.npy").replace(folder / f"{backbone.name}_grid.npy")
    write_json(folder / f"{backbone.name}_grid.json", {"ids": ids} | provenance)
    del arrays
    shutil.rmtree(partial)
    return load_features(folder, backbone.name)


def load_features(folder: Path, backbone_name: str) -> Features:
    """The features that `extract_features` wrote; the grid stays on disk until rows of it are read.

    Raises:
        InputError: they do not exist or do not fit together.
    """
    by_id = load_pickle(folder / f"{backbone_name}.pkl")
    ids = read_json(folder / f"{backbone_name}_grid.json", made_by="notebook 02_features")["ids"]
    grid_path = folder / f"{backbone_name}_grid.npy"
    grid = np.load(grid_path, mmap_mode="r") if grid_path.exists() else None
    if list(by_id) != ids or (grid is not None and len(grid) != len(ids)):
        raise InputError(
            f"The {backbone_name} files in {folder} do not belong together; delete them and run notebook 02_features."
        )
    return Features(ids, np.stack(list(by_id.values())), grid)


def photo_features(backbone: Backbone, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Vector (D,) and grid (R, C) of one photo given as uint8 (224, 224, 3)."""
    with torch.inference_mode():
        vectors, grid = backbone(torch.from_numpy(photo[None].copy()))
    return vectors[0].numpy(), None if grid is None else grid[0].numpy()


def nearest(vectors: np.ndarray, row: int, count: int) -> np.ndarray:
    """Rows of the `count` vectors with the highest cosine to `vectors[row]`, itself left out."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit[row]  # (N,)
    cosines[row] = -np.inf
    return np.argsort(-cosines)[:count]


def _batches(photos: Sequence[HasPath], size: int, batch_size: int, done: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, uint8 (b, size, size, 3)) from row `done` on, decoded in the background one batch ahead."""

    def decode(start: int) -> list[Future[np.ndarray]]:
        batch = photos[start : start + batch_size]
        return [pool.submit(lambda photo: resize_photo(load_photo(photo.path, size), size), photo) for photo in batch]

    starts = range(done, len(photos), batch_size)
    with ThreadPoolExecutor(cores()) as pool:
        pending = decode(done)
        for start in progress(starts, "extracting features", unit="batch"):
            current, pending = pending, decode(start + batch_size)
            yield start, np.stack([future.result() for future in current])


def _open_partial(partial: Path, provenance: dict, count: int, backbone: Backbone) -> tuple[dict[str, np.ndarray], int]:
    """Memory-mapped arrays to fill, and how many rows are already done."""
    shapes = {"vectors": ((count, backbone.vector_width), np.float32)}
    if backbone.grid_shape:
        shapes["grid"] = ((count, *backbone.grid_shape), np.float16)
    progress_file = partial / "progress.json"
    if progress_file.exists():
        content = read_json(progress_file)
        done = content.pop("done")
        if content == provenance:
            print(f"{backbone.name}: going on after {done:,} of {count:,} photos.")
            return {name: np.lib.format.open_memmap(partial / f"{name}.npy", "r+") for name in shapes}, done
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return {
        name: np.lib.format.open_memmap(partial / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
    }, 0


def _provenance(folder: Path, backbone_name: str) -> dict | None:
    path = folder / f"{backbone_name}_grid.json"
    if not path.exists() or not (folder / f"{backbone_name}.pkl").exists():
        return None
    content = read_json(path)
    content.pop("ids", None)
    return content


def _stamps(photos: Sequence[HasPath]) -> str:
    """Fingerprint of ids, sizes and times of the photos: changes when any photo does."""
    digest = hashlib.sha256()
    for photo in photos:
        status = photo.path.stat()
        digest.update(f"{photo.id} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _weights_fingerprint(backbone: Backbone) -> str:
    digest = hashlib.sha256()
    for tensor in backbone.state_dict().values():
        digest.update(tensor.numpy())
    return digest.hexdigest()[:12]
