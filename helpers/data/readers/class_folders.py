"""`raw-img/<class>/` or `<class>/`: one folder of photos a class, as in Animals-10."""

import random
from collections import Counter
from pathlib import Path

from helpers.data.images import SUFFIXES
from helpers.data.manifest import ClassPhoto
from helpers.files import InputError


def read_class_folder(folder: Path, seed: int) -> list[ClassPhoto]:
    """Photos by class from `raw-img/<class>/` (or `<class>/`), about 75 % train, 10 % val, 15 % test of each class.

    Raises:
        InputError: there are not at least two classes with ten photos each.
    """
    root = folder / "raw-img" if (folder / "raw-img").is_dir() else folder
    photos: list[ClassPhoto] = []
    for class_folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        paths = sorted(path for path in class_folder.iterdir() if path.suffix.lower() in SUFFIXES)
        random.Random(f"{seed} {class_folder.name}").shuffle(paths)
        tenth = len(paths) / 10
        for place, path in enumerate(paths):
            split = "val" if place < tenth else "test" if place < 2.5 * tenth else "train"
            photos.append(ClassPhoto(f"{class_folder.name}/{path.name}", path, class_folder.name, split))
    counts = Counter(photo.label for photo in photos)
    few = [f"{label} ({count})" for label, count in counts.items() if count < 10]
    if len(counts) < 2 or few:
        problem = f"too few photos in {', '.join(few)}" if few else f"{len(counts)} class folders"
        raise InputError(f"{root} has {problem}; give at least two folders, one a class, with ten photos each.")
    return photos
