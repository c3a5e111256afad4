"""How fast an album takes photos, beside the plain loop: open a photo, run the networks in PyTorch, open the next.

Both make the same of a photo: the vector that finds it, and the caption. The album looks at photos through OpenVINO, a
request a core, opens others meanwhile, looks once for both, and decodes the captions of many photos together.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from helpers.captioning.captioner import LOOKS_AT, load_captioner
from helpers.data.images import load_photo, resize_photo
from helpers.data.manifest import load_manifest
from helpers.encoders.metrics import retrieval_metrics
from helpers.encoders.pretrained import load_pretrained_pair
from helpers.environment import peak_memory
from helpers.features.backbones import load_backbone
from helpers.search.album import Album
from helpers.search.album_models import NO_CAPTIONS
from helpers.search.engine import CAPTIONERS, PhotoSearch
from helpers.speed.benchmarks import in_fresh_process

_WARM_UP = 3  # photos


@torch.inference_mode()
def plain_loop(outputs: Path, paths: Sequence[Path], kind: str | None) -> dict[str, float]:
    """Photos a second, one at a time in PyTorch: the run's pretrained towers and, if it is named, a captioner."""
    pair = load_pretrained_pair(outputs / "pretrained_encoder")
    captioner = load_captioner(outputs / CAPTIONERS / kind) if kind else None
    same = captioner is None or captioner.backbone == pair.backbone.name
    eye = pair.backbone if same else load_backbone(captioner.backbone)
    for number, path in enumerate([*paths[:_WARM_UP], *paths]):
        if number == _WARM_UP:
            start = time.perf_counter()
        photo = load_photo(path, pair.photo_size)
        vector, grid = pair.backbone(_pixels(photo, pair.photo_size))
        pair.model.encode_image((grid if pair.model.config.tail else vector)[:, None])
        if captioner is not None:
            if not same:
                vector, grid = eye(_pixels(photo, eye.photo_size))
            seen = vector if LOOKS_AT[captioner.kind] == "vectors" else grid
            captioner.texts(captioner.decode(seen))
    return {"photos_per_second": len(paths) / (time.perf_counter() - start)}


def _pixels(photo: Image.Image, size: int) -> Tensor:
    """A photo as a batch of one, uint8 (1, S, S, 3)."""
    return torch.from_numpy(resize_photo(photo, size)[None].copy())


def album_update(outputs: Path, folder: Path, home: Path, kind: str, precision: str) -> dict[str, float]:
    """Bring an album up to date in this process, with the time that loading and compiling the models takes."""
    start = time.perf_counter()
    album = Album(folder, outputs, home, captioner=kind, precision=precision)
    tally = album.update()
    seconds = time.perf_counter() - start
    peak = peak_memory() / 2**20
    return {"photos_per_second": tally.taken / seconds, "seconds": seconds, "peak_megabytes": peak}


def album_recall(outputs: Path, folder: Path, home: Path, precision: str) -> float:
    """Recall@10, in percent, of the test captions of the run among its test and validation photos, as an album."""
    manifest = load_manifest(outputs)
    photos = [*manifest.split("test"), *manifest.split("val")]
    _link([photo.path for photo in photos], folder)
    album = Album(folder, outputs, home, captioner=NO_CAPTIONS, precision=precision)
    album.update()
    asked = [(row, text) for row, photo in enumerate(photos) if photo.split == "test" for text in photo.captions]
    texts = album.encoder.embed_texts([text for _, text in asked])
    vectors = album.index.vectors(list(album.photos))  # in the order of the names of the links
    return retrieval_metrics(vectors, texts, np.array([row for row, _ in asked]))["t2i_r10"]


def _link(paths: Sequence[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, path in enumerate(paths):
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.resolve())


def album_speeds(outputs: Path, paths: Sequence[Path], plain: int) -> dict[str, dict[str, float]]:
    """The plain loop over `plain` photos, and albums of all of `paths`, each in a process of its own.

    Returns:
        For the plain loops and the albums photos_per_second; for the albums also seconds, peak_megabytes of the whole
        process, and ratio to the plain loop that makes the same; for the precisions recall_at_10.
    """
    outputs = outputs.resolve()
    kind = PhotoSearch(outputs).captioners[0]
    table: dict[str, dict[str, float]] = {}
    table["plain_index"] = in_fresh_process(plain_loop, outputs, paths[:plain], None)
    table["plain_captions"] = in_fresh_process(plain_loop, outputs, paths[:plain], kind)
    with TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        _link(paths, folder)

        def update(home: str, captioner: str, precision: str) -> dict[str, float]:
            found = in_fresh_process(album_update, outputs, folder, Path(place) / home, captioner, precision)
            slow = table["plain_index" if captioner == NO_CAPTIONS else "plain_captions"]["photos_per_second"]
            return found | {"ratio": found["photos_per_second"] / slow}

        for precision in ("fp32", "int8"):
            table[f"index_{precision}"] = update(f"index_{precision}", NO_CAPTIONS, precision)
            table[f"captions_{precision}"] = update(f"captions_{precision}", kind, precision)
            gallery, home = Path(place) / f"gallery_{precision}", Path(place) / f"gallery_home_{precision}"
            table[f"index_{precision}"]["recall_at_10"] = in_fresh_process(
                album_recall, outputs, gallery, home, precision
            )
        table["unchanged"] = update("captions_fp32", kind, "fp32")
    return table
