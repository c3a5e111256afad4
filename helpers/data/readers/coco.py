"""COCO 2017: `train2017/` and `val2017/` beside `annotations/captions_*.json` (Chen et al., arXiv:1504.00325)."""

from collections import defaultdict
from pathlib import Path

from helpers.files import read_json


def _root(folder: Path) -> Path:
    return folder / "coco2017" if (folder / "coco2017").is_dir() else folder


def has_annotations(folder: Path) -> bool:
    """Whether `folder`, or `coco2017/` in it, is laid out so."""
    return (_root(folder) / "annotations").is_dir()


def read_coco(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from the annotation files of training and validation.

    Captions of a photo that its file does not list, and empty ones, are left out and counted in `notices`.

    Raises:
        InputError: an annotation file is missing or not as expected.
    """
    root = _root(folder)
    captions: dict[Path, list[str]] = defaultdict(list)
    for part in ("train2017", "val2017"):
        file = root / "annotations" / f"captions_{part}.json"
        annotations = read_json(file, made_by="the download of the COCO data set")
        names = {image["id"]: image["file_name"] for image in annotations["images"]}
        usable = [row for row in annotations["annotations"] if row["image_id"] in names and row["caption"].strip()]
        for row in usable:
            captions[root / part / names[row["image_id"]]].append(" ".join(row["caption"].split()))
        if left := len(annotations["annotations"]) - len(usable):
            notices.append(f"{left:,} captions of {file} are empty or name no photo of it, and are left out.")
    return {path: tuple(dict.fromkeys(texts)) for path, texts in captions.items()}
