"""`raw-img/<class>/` or `<class>/`: one folder of photos a class, as in Animals-10."""

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from helpers.data.images import find_photos, is_hidden
from helpers.data.manifest import ClassPhoto
from helpers.files import InputError

LEAST = 10  # photos a class: fewer leave a split without any


def read_class_folder(folder: Path, seed: int, notices: list[str]) -> list[ClassPhoto]:
    """Photos by class from `raw-img/<class>/` (or `<class>/`), about 75 % train, 10 % val, 15 % test of each class.

    Folders within a class belong to it. Files that are no photos, and folders without any, are counted in `notices`.

    Raises:
        InputError: there are not at least two classes with `LEAST` photos each.
    """
    root = folder / "raw-img" if (folder / "raw-img").is_dir() else folder
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    if {"train", "test"} <= set(names) or {"train", "val"} <= set(names):
        raise InputError(
            f"{root} is split already ({', '.join(names)}); give one folder a class, and it is split here."
        )
    photos: list[ClassPhoto] = []
    for name in names:
        paths, passed_over = find_photos(root / name)
        if passed_over:
            path, why = next(iter(passed_over.items()))
            notices.append(f"{len(passed_over):,} files in {root / name} are left out, for example {path.name}: {why}.")
        if not paths:
            notices.append(f"{root / name} holds no photos, and is no class.")
        random.Random(f"{seed} {name}").shuffle(paths)
        tenth = len(paths) / 10
        for place, path in enumerate(paths):
            split = "val" if place < tenth else "test" if place < 2.5 * tenth else "train"
            photos.append(ClassPhoto(path.relative_to(root).as_posix(), path, name, split))
    check_counts(root, photos)
    return photos


def check_counts(root: Path, photos: Iterable[ClassPhoto]) -> None:
    """See that there are enough of each class.

    Raises:
        InputError: there are not at least two classes with `LEAST` photos each.
    """
    counts = Counter(photo.label for photo in photos)
    few = [f"{label} ({count})" for label, count in counts.items() if count < LEAST]
    if len(counts) < 2 or few:
        problem = f"too few photos in {', '.join(few)}" if few else f"{len(counts)} class folders"
        raise InputError(f"{root} has {problem}; give at least two folders, one a class, with ten usable photos each.")
