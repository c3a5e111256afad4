"""COCO: `train2017/` and `val2017/` beside `annotations/captions_*.json` (Chen et al., arXiv:1504.00325)."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from helpers.files import InputError, read_as


@dataclass
class _Image:
    id: int
    file_name: str


@dataclass
class _Caption:
    image_id: int
    caption: str


@dataclass
class _Annotations:
    images: list[_Image]
    annotations: list[_Caption]


def _root(folder: Path) -> Path:
    return folder / "coco2017" if (folder / "coco2017").is_dir() else folder


def has_annotations(folder: Path) -> bool:
    """Whether `folder`, or `coco2017/` in it, is laid out so."""
    return (_root(folder) / "annotations").is_dir()


def read_coco(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from the annotation files: of training and validation, or of one of them.

    Captions of a photo that its file does not list or that is not there, empty captions, and photos without any are
    left out and counted in `notices`.

    Raises:
        InputError: there is no annotation file, one is not as expected, or no caption belongs to a photo.
    """
    root = _root(folder)
    files = sorted((root / "annotations").glob("captions_*.json"))
    if not files:
        raise InputError(f"{root / 'annotations'} holds no captions_*.json; run the download of COCO again.")
    if len(files) == 1:
        notices.append(f"{files[0]} is the only file of captions; COCO has one for training and one for validation.")
    captions: dict[Path, list[str]] = defaultdict(list)
    for file in files:
        photos = root / file.stem.removeprefix("captions_")  # train2017
        present = {entry.name for entry in photos.iterdir()} if photos.is_dir() else set()
        content = read_as(_Annotations, file, made_by="the download of the COCO data set")
        names = {image.id: image.file_name for image in content.images}
        unknown = missing = empty = 0
        for row in content.annotations:
            name, words = names.get(row.image_id), row.caption.split()
            if name is None:
                unknown += 1
            elif name not in present:
                missing += 1
            elif not any(character.isalnum() for word in words for character in word):
                empty += 1
            else:
                captions[photos / name].append(" ".join(words))
        reasons = {
            "name no photo of it": unknown,
            f"are of photos that are not in {photos}": missing,
            "are empty": empty,
        }
        notices += [f"{count:,} captions of {file} {why}, and are left out." for why, count in reasons.items() if count]
        if bare := len(
            present.intersection(names.values()) - {path.name for path in captions if path.parent == photos}
        ):
            notices.append(f"{bare:,} photos in {photos} have no caption, and are left out.")
    if not captions:
        raise InputError(f"No caption in {root / 'annotations'} belongs to a photo in {root}; check the folders.")
    return {path: tuple(dict.fromkeys(texts)) for path, texts in captions.items()}
