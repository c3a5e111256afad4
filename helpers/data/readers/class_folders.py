"""`raw-img/<class>/` or `<class>/`: one folder of photos a class, as in Animals-10; also `train/<class>/` and so on."""

import random
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from unicodedata import normalize

from helpers.data.images import find_photos, open_header, why_no_photo
from helpers.data.left_out import Findings
from helpers.data.manifest import SPLITS, ClassPhoto, Split, split_called
from helpers.files import InputError, beginning, copies, is_hidden, there

LEAST = 10  # different photos a class: fewer leave a split without any
_MOST_LOST = 0.5  # of the photos of a class; if more cannot be used, that is said by itself


def read_class_folder(folder: Path, seed: int, findings: Findings) -> list[ClassPhoto]:
    """Photos by class from `raw-img/<class>/` (or `<class>/`), about 75 % train, 10 % val, 15 % test of each class.

    Folders `train/`, `val/` and `test/` with the classes in them keep their splits; a split that a class lacks is taken
    from those to train on. Folders within a class belong to it. Files that are no photos, photos that are in no class
    or in several, and folders without any, are left out and named.

    Raises:
        InputError: there are not at least two classes with `LEAST` different photos each.
    """
    root = folder / "raw-img" if there((folder / "raw-img").is_dir) else folder
    photos = [
        photo
        for label, of_class in sorted(_of_one_class(_by_class(root, findings), findings).items())
        for photo in _split(root, label, of_class, seed)
    ]
    return usable_classes(root, photos, (), findings)


def _by_class(root: Path, findings: Findings) -> dict[str, list[tuple[Path, Split | None]]]:
    """The photos of each class, by its composed name (NFC), with the split that they are in already."""
    top = _folders(root, findings)
    splits = {path: split for path in top if (split := split_called(path.name))}
    if "train" in splits.values() and len(set(splits.values())) > 1:
        for path in top:
            if path not in splits:
                findings.leave_out("class", path.name, "beside the folders of the splits")
        parts = [(path, split, path.name) for folder, split in splits.items() for path in _folders(folder, findings)]
    else:
        parts = [(path, None, path.name) for path in top]
    classes: dict[str, list[tuple[Path, Split | None]]] = {}
    ids: set[str] = set()
    for path, split, label in parts:
        found, passed_over = find_photos(path)
        for other, why in passed_over.items():
            findings.leave_out("file", other, "not a photo", why)
        of_class = classes.setdefault(normalize("NFC", label), [])
        for photo in found:
            if (id_ := _id(photo, root)) in ids:  # é can be one character or two
                findings.leave_out("photo", photo, "under the same name as another photo")
            else:
                ids.add(id_)
                of_class.append((photo, split))
    for label in [label for label, photos in classes.items() if not photos]:
        findings.leave_out("class", root / label, "without photos")
        del classes[label]
    return classes


def _of_one_class(
    classes: dict[str, list[tuple[Path, Split | None]]], findings: Findings
) -> dict[str, list[tuple[Path, Split | None]]]:
    """Without photos of which there are copies in several classes: which of them they show, nobody has said.

    What only seems to be a photo, such as an empty file, stays, and will be named for what it is.
    """
    label_of = {path: label for label, photos in classes.items() for path, _ in photos}
    split_of = {path: split for photos in classes.values() for path, split in photos}
    copy_of = {copy: first for copy, first in copies(label_of).items() if _is_image(first)}
    torn = {first for copy, first in copy_of.items() if label_of[copy] != label_of[first]}
    torn |= {copy for copy, first in copy_of.items() if first in torn}
    for path in label_of:
        if path in torn:
            findings.leave_out("photo", path, "in more than one class")
    if twice := sum(split_of[copy] != split_of[first] for copy, first in copy_of.items() if first not in torn):
        findings.say(f"{twice:,} photos by class are in two splits: figures on them say little of other photos.")
    left = {label: [photo for photo in photos if photo[0] not in torn] for label, photos in classes.items()}
    for label in [label for label, photos in left.items() if not photos]:
        findings.leave_out("class", label, "without a photo that is in no other class")
        del left[label]
    return left


def _is_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            open_header(file)
    except Exception:  # as in `load_photo`
        return False
    return True


def _folders(folder: Path, findings: Findings) -> list[Path]:
    """The folders in `folder`, in the order of `find_photos`; photos beside them are named."""
    try:
        inside = [path for path in folder.iterdir() if not is_hidden(path.name)]
        folders = {path for path in inside if path.is_dir()}
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be opened ({error.strerror}); check its permissions.") from None
    inside.sort(key=lambda path: (normalize("NFC", path.name), path.name))
    for path in inside:
        if path not in folders and why_no_photo(path) is None:
            findings.leave_out("photo", path, "in the folder of no class")
    return [path for path in inside if path in folders]


def _split(root: Path, label: str, photos: Sequence[tuple[Path, Split | None]], seed: int) -> list[ClassPhoto]:
    """The photos of a class in their splits."""
    splits = {path: split for path, split in photos if split}
    free = [path for path, split in photos if split in (None, "train")]
    copy_of = copies(free)  # which go where their photo goes: it does not train under one name and test under another
    free = [path for path in free if path not in copy_of]
    random.Random(f"{seed} {label}").shuffle(free)
    tenth = len(free) / 10
    # A photo each of the places 0 to 1 goes to val, 1 to 2.5 to test, where the folders have not said it.
    taken: set[str] = {split for split in splits.values() if split != "train"}
    for place, path in enumerate(free):
        split: Split = "val" if place < tenth else "test" if place < 2.5 * tenth else "train"
        splits[path] = "train" if split in taken else split
    splits |= {copy: splits[first] for copy, first in copy_of.items()}
    order = [*free, *copy_of] if not taken else [path for path, _ in photos]
    return [ClassPhoto(_id(path, root), path, label, splits[path]) for path in order]


def _id(path: Path, root: Path) -> str:
    return normalize("NFC", path.relative_to(root).as_posix())


def usable_classes(
    root: Path, photos: Sequence[ClassPhoto], bad: Container[Path], findings: Findings
) -> list[ClassPhoto]:
    """The photos that are not `bad`, of the classes that have enough of them; the other classes are named.

    Raises:
        InputError: there are not at least two classes with `LEAST` different photos each, some of them in every split.
    """
    before = Counter(photo.label for photo in photos)
    photos = [photo for photo in photos if photo.path not in bad]
    after = Counter(photo.label for photo in photos)
    copy_of = copies(photo.path for photo in photos)
    different = Counter(photo.label for photo in photos if photo.path not in copy_of)
    for label, count in before.items():
        lacking = [split for split in SPLITS if not any(p.label == label and p.split == split for p in photos)]
        if different[label] < LEAST or lacking:
            why, usable = f"without a usable photo in {' and '.join(lacking)}", after[label]
            if different[label] < LEAST:
                why, usable = f"with fewer than {LEAST} different usable photos", different[label]
            findings.leave_out("class", label, why, f"{usable} of {count}")
            photos = [photo for photo in photos if photo.label != label]
        elif after[label] < (1 - _MOST_LOST) * count:
            findings.say(f"Of class {label} only {after[label]:,} of {count:,} photos can be used.")
    if len({photo.label for photo in photos}) < 2:
        few = ", ".join(f"{label} ({different[label]})" for label in before) or "none with photos of its own"
        raise InputError(
            f"{root} has too few photos in its classes ({beginning(few)}); give at least two folders, one a class, "
            "with ten different usable photos each."
        )
    return photos
