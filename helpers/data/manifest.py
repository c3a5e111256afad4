"""The manifest: which photos a run has, where they are, with which captions or of which class, and in which split.

Notebook 01 writes it, and every later stage starts from it.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from helpers.artefacts import check, seal
from helpers.data.text import clean_caption
from helpers.environment import located, portable
from helpers.files import InputError, read_as, there, write_json

MADE_BY = "notebook 01_download"
ROOTS = "roots.json"
SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]
_CALLED: dict[str, Split] = {  # as data sets call them; "restval" is COCO's second part for training
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_called(word: str) -> Split | None:
    """The split that `word` stands for.

    >>> split_called("Validation"), split_called("restval"), split_called("photos")
    ('val', 'train', None)
    """
    return _CALLED.get(word.strip().lower())


@dataclass(frozen=True)
class Photo:
    """A photo with its captions, as their authors wrote them."""

    id: str
    path: Path
    captions: tuple[str, ...]
    split: Split
    origin: str = ""  # the data set that it comes from, where there are several


@dataclass(frozen=True)
class ClassPhoto:
    """A photo of one class; `label` is the name of its folder."""

    id: str
    path: Path
    label: str
    split: Split


@dataclass(frozen=True)
class Manifest:
    """All that a run knows of its data."""

    name: str
    photos: list[Photo]
    class_photos: list[ClassPhoto]
    notices: list[str] = field(default_factory=list)  # what was left out and why, in sentences

    @property
    def origins(self) -> list[str]:
        """The data sets that the captioned photos come from."""
        return sorted({photo.origin for photo in self.photos})

    def split(self, name: str) -> list[Photo]:
        """The captioned photos of "train", "val" or "test"."""
        return [photo for photo in self.photos if photo.split == name]

    @property
    def splits(self) -> dict[str, list[Photo]]:
        """The captioned photos by split."""
        return {name: self.split(name) for name in SPLITS}

    def class_split(self, name: str) -> list[ClassPhoto]:
        """The class photos of "train", "val" or "test"."""
        return [photo for photo in self.class_photos if photo.split == name]

    @property
    def classes(self) -> list[str]:
        """The labels in alphabetical order."""
        return sorted({photo.label for photo in self.class_photos})

    def save(self, outputs: Path) -> None:
        """Write `dataset/manifest.json` below `outputs`, and beside it `roots.json`, where its paths begin."""
        content, roots = asdict(self), {}
        for kind in ("photos", "class_photos"):
            paths = [row["path"].absolute() for row in content[kind]]
            try:
                root = Path(os.path.commonpath([path.parent for path in paths]))
            except ValueError:  # there are none, or they are on several drives
                root = None
            if root:
                roots[kind] = portable(root)
            for row, path in zip(content[kind], paths, strict=True):
                row["path"] = path.relative_to(root).as_posix() if root else str(path)
        path = _manifest_path(outputs)
        write_json(path.with_name(ROOTS), roots)
        write_json(path, content)
        seal(path.parent, path.name)


def load_manifest(outputs: Path) -> Manifest:
    """The manifest that notebook 01 wrote below `outputs`.

    Raises:
        InputError: notebook 01 has not run, the file is damaged, or its photos are gone.
    """
    check(MADE_BY, _manifest_path(outputs))
    manifest = read_as(Manifest, _manifest_path(outputs), MADE_BY)
    place = _manifest_path(outputs).with_name(ROOTS)
    roots = read_as(dict[str, str], place, MADE_BY) if place.exists() else {}  # earlier versions kept whole paths
    for kind in ("photos", "class_photos"):
        noted = roots.get(kind, "")
        beside = outputs.absolute().parent.parent / noted  # of a run in another copy of the course, its own data
        root = beside if there(beside.is_dir) else located(noted)
        photos = getattr(manifest, kind)
        photos[:] = [replace(photo, path=root / photo.path) for photo in photos]
    for photo in [*manifest.photos[:1], *manifest.class_photos[:1]]:
        if not there(photo.path.is_file):
            raise InputError(f"{photo.path} is gone since notebook 01_download listed it; run that notebook again.")
    return manifest


def _manifest_path(outputs: Path) -> Path:
    return outputs / "dataset" / "manifest.json"


def caption_lengths(photos: Sequence[Photo]) -> list[int]:
    """Words of each caption, after cleaning."""
    return [len(clean_caption(caption).split()) for photo in photos for caption in photo.captions]


def saying(photos: Sequence[Photo], word: str) -> int:
    """How many of `photos` have a caption with this word."""
    return sum(any(word in clean_caption(caption).split() for caption in photo.captions) for photo in photos)
