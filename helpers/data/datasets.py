"""Data sets: fetch them, read their captions and splits, check every photo, and write one manifest.

Everything after notebook 01 starts from the manifest: which photos there are, where, with which captions, in which
split. Rows and photos that cannot be used are left out and named in `Manifest.notices`.

Layouts that are understood:

- `<folder>/Images/` with `<folder>/captions.txt`, CSV with the header `image,caption` (Flickr8k, Flickr30k);
- `coco2017/{train2017,val2017,annotations}` (COCO);
- `raw-img/<class>/` or `<class>/`, one folder of photos a class (Animals-10);
- Karpathy's split files `dataset_*.json` (Karpathy and Fei-Fei 2015).
"""

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from helpers.data.descriptions import ENGLISH
from helpers.data.images import SUFFIXES, unreadable_photos
from helpers.data.text import clean_caption
from helpers.environment import project_root
from helpers.files import InputError, fingerprint_files, fingerprint_folder, read_json, write_json
from helpers.profiles import Profile

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Photo:
    """A photo with its captions, as their authors wrote them."""

    id: str
    path: Path
    captions: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class ClassPhoto:
    """A photo of one class; `label` is the name of its folder."""

    id: str
    path: Path
    label: str
    split: str


@dataclass(frozen=True)
class Manifest:
    """All that a run knows of its data."""

    name: str
    photos: list[Photo]
    class_photos: list[ClassPhoto]
    notices: list[str] = field(default_factory=list)

    def split(self, name: str) -> list[Photo]:
        """The captioned photos of "train", "val" or "test"."""
        return [photo for photo in self.photos if photo.split == name]

    def class_split(self, name: str) -> list[ClassPhoto]:
        """The class photos of "train", "val" or "test"."""
        return [photo for photo in self.class_photos if photo.split == name]

    @property
    def classes(self) -> list[str]:
        """The labels in alphabetical order."""
        return sorted({photo.label for photo in self.class_photos})

    def save(self, outputs: Path) -> None:
        """Write `dataset/manifest.json` below `outputs`."""
        content = asdict(self)
        for row in content["photos"] + content["class_photos"]:
            row["path"] = str(row["path"])
        write_json(_manifest_path(outputs), content)


def load_manifest(outputs: Path) -> Manifest:
    """The manifest that notebook 01 wrote below `outputs`.

    Raises:
        InputError: notebook 01 has not run, or its photos are gone.
    """
    content = read_json(_manifest_path(outputs), made_by="notebook 01_download")
    photos = [
        Photo(**row | {"path": Path(row["path"]), "captions": tuple(row["captions"])}) for row in content["photos"]
    ]
    class_photos = [ClassPhoto(**row | {"path": Path(row["path"])}) for row in content["class_photos"]]
    for photo in [*photos[:1], *class_photos[:1]]:
        if not photo.path.is_file():
            raise InputError(f"{photo.path} is gone since notebook 01_download listed it; run that notebook again.")
    return Manifest(content["name"], photos, class_photos, content["notices"])


def _manifest_path(outputs: Path) -> Path:
    return outputs / "dataset" / "manifest.json"


# --- From a profile to a manifest -------------------------------------------------------------------------------


def prepare(profile: Profile) -> tuple[Manifest, dict[str, str]]:
    """Fetch or draw the profile's data, read it and check every photo.

    Returns:
        The manifest, and the fingerprint of each folder or file that it was read from, by path.

    Raises:
        InputError: a download fails, a folder is missing or incomplete, or nothing usable is left.
    """
    notices: list[str] = []
    captions_root, split_file, classes_root = _roots(profile)
    if (captions_root / "coco2017").is_dir() or (captions_root / "annotations").is_dir():
        captioned = read_coco(captions_root)
    else:
        captioned = read_captions(captions_root, notices)
    splits = read_karpathy_split(split_file) if split_file else random_split(captioned, profile.seed)
    photos = [
        Photo(path.name, path, captions, splits[path.name])
        for path, captions in captioned.items()
        if path.name in splits
    ]
    if len(photos) < len(captioned):
        notices.append(f"{len(captioned) - len(photos):,} photos are not in the split file and are left out.")
    if len(photos) < len(splits):
        notices.append(f"{len(splits) - len(photos):,} photos of the split file are not in {captions_root}.")
    class_photos = read_class_folder(classes_root, profile.seed) if classes_root else []

    bad = unreadable_photos([photo.path for photo in [*photos, *class_photos]])
    notices += [f"skipped: {reason}" for reason in bad.values()]
    photos = [photo for photo in photos if photo.path not in bad]
    class_photos = [photo for photo in class_photos if photo.path not in bad]
    for split in SPLITS:
        if not any(photo.split == split for photo in photos):
            raise InputError(
                f"No usable photo is left in the {split} split of {captions_root}; add photos or captions."
            )

    sources = {str(root): fingerprint_folder(root) for root in (captions_root, classes_root) if root is not None}
    if split_file:
        sources[str(split_file)] = fingerprint_files([split_file])
    return Manifest(profile.name, photos, class_photos, notices), sources


def _roots(profile: Profile) -> tuple[Path, Path | None, Path | None]:
    """Folder of the captioned photos, their split file, folder of the class photos; own folders come first."""
    captions_root = _own_folder(profile.captions_folder, "captions_folder")
    classes_root = _own_folder(profile.classes_folder, "classes_folder")
    split_file = None
    if captions_root is None and profile.captions_handle:
        captions_root = download(profile.captions_handle, "captions_folder")
        split_file = _find_split_file(profile) if profile.split_handle else None  # None: split by chance
    if classes_root is None and profile.classes_handle:
        classes_root = download(profile.classes_handle, "classes_folder")
    if profile.captions_handle is None and not (captions_root and classes_root):
        from helpers.sample.draw import draw_sample

        sample = profile.data / "sample"
        draw_sample(sample, profile.scenes, profile.pictures_per_class, profile.seed, ENGLISH)
        if captions_root is None:
            captions_root, split_file = sample / "captions", sample / "captions" / "dataset_sample.json"
        classes_root = classes_root or sample / "animals"
    return captions_root, split_file, classes_root


def _own_folder(folder: str | None, setting: str) -> Path | None:
    if folder is None:
        return None
    root = project_root() / Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"The folder {root} does not exist; correct the setting {setting}.")
    return root


def _find_split_file(profile: Profile) -> Path:
    root = download(profile.split_handle, "captions_folder")
    found = sorted(root.rglob(profile.split_file))
    if not found:
        raise InputError(f"{root} holds no {profile.split_file}; delete that folder so that it is downloaded again.")
    return found[0]


def download(handle: str, setting: str) -> Path:
    """The folder of a Kaggle data set, downloaded on first use (`KAGGLEHUB_CACHE` says where to).

    Raises:
        InputError: it cannot be had; the message names `setting` as the way around.
    """
    import kagglehub

    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # network, credentials, terms not accepted, disk: each its own class
        raise InputError(
            f"The Kaggle data set {handle} could not be downloaded ({type(error).__name__}: {_first_line(error)}); "
            f"check the connection and your Kaggle access, or give a folder of your own with {setting}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0][:200]


# --- Captions and splits ----------------------------------------------------------------------------------------


def read_captions(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from `Images/` and `captions.txt`.

    Captions hold commas, and are then quoted: only a CSV reader gets them whole. What is left out (missing photos,
    empty captions, repeated rows) is added to `notices`.

    Raises:
        InputError: the folder is not laid out as expected, or no caption belongs to a photo.
    """
    images, captions_file = folder / "Images", folder / "captions.txt"
    for path in (images, captions_file):
        if not path.exists():
            raise InputError(
                f"{path} is missing, so {folder} is not a complete captioned data set; it needs Images/ and "
                "captions.txt (if it was downloaded, delete the folder and run again)."
            )
    present = {entry.name for entry in images.iterdir()}
    captions: dict[str, list[str]] = defaultdict(list)
    dropped: dict[str, list[str]] = defaultdict(list)
    for image, caption in _caption_rows(captions_file, notices):
        if image not in present:
            dropped["name a photo that is missing in Images"].append(image)
        elif not any(character.isalnum() for character in caption):
            dropped["have an empty caption"].append(image)
        elif caption in captions[image]:
            dropped["repeat a row"].append(image)
        else:
            captions[image].append(caption)
    for reason, names in dropped.items():
        examples = ", ".join(dict.fromkeys(names[:3]))
        notices.append(f"{len(names):,} rows of {captions_file} {reason} and are left out, for example: {examples}.")
    uncaptioned = [name for name in present if Path(name).suffix.lower() in SUFFIXES and not captions.get(name)]
    if uncaptioned:
        notices.append(
            f"{len(uncaptioned):,} photos in {images} have no caption and are left out, for example {min(uncaptioned)}."
        )
    found = {images / name: tuple(rows) for name, rows in captions.items() if rows}
    if not found:
        raise InputError(
            f"No row of {captions_file} belongs to a photo in {images}; check the names in its first column."
        )
    return found


def _caption_rows(captions_file: Path, notices: list[str]) -> Iterable[tuple[str, str]]:
    raw = captions_file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        notices.append(f"{captions_file} is not UTF-8 (first at line {line}); it is read as Windows-1252 instead.")
        text = raw.decode("cp1252", errors="replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    for number, row in enumerate(rows, start=1):
        if number == 1:
            if [cell.strip().lower() for cell in row] == ["image", "caption"]:
                continue
            if len(row) != 2 or Path(row[0]).suffix.lower() not in SUFFIXES:
                raise InputError(
                    f"The first line of {captions_file} is {','.join(row)[:80]!r}, "
                    "but should be the header image,caption."
                )
            notices.append(f"{captions_file} has no header image,caption; its first line is read as a caption.")
        if not row:
            continue
        if len(row) != 2:
            raise InputError(
                f"Line {rows.line_num} of {captions_file} has {len(row)} columns instead of 2; "
                "put captions that hold a comma in double quotes."
            )
        yield row[0].strip(), " ".join(row[1].split())


def read_coco(folder: Path) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from COCO 2017's annotation files.

    Raises:
        InputError: an annotation file is missing or not as expected.
    """
    root = folder / "coco2017" if (folder / "coco2017").is_dir() else folder
    captions: dict[Path, list[str]] = defaultdict(list)
    for part in ("train2017", "val2017"):
        annotations = read_json(
            root / "annotations" / f"captions_{part}.json", made_by="the download of the COCO data set"
        )
        names = {image["id"]: image["file_name"] for image in annotations["images"]}
        for row in annotations["annotations"]:
            captions[root / part / names[row["image_id"]]].append(" ".join(row["caption"].split()))
    return {path: tuple(dict.fromkeys(texts)) for path, texts in captions.items()}


def read_karpathy_split(path: Path) -> dict[str, str]:
    """Split of each photo by file name; "restval", COCO's second training part, counts as "train".

    Raises:
        InputError: the file is not a split file.
    """
    images = read_json(path, made_by="notebook 01_download").get("images")
    if not images or not all("split" in image for image in images):
        raise InputError(f"{path} is not a split file in Karpathy's format; delete it so that it is downloaded again.")
    return {
        # COCO 2017 names its photos by number alone: 000000391895.jpg.
        f"{image['cocoid']:012d}.jpg" if "cocoid" in image else image["filename"]: {"restval": "train"}.get(
            image["split"], image["split"]
        )
        for image in images
    }


def random_split(paths: Iterable[Path], seed: int) -> dict[str, str]:
    """About 80 % train, 10 % val, 10 % test, by photo, the same for the same seed and names.

    Raises:
        InputError: fewer than ten photos.
    """
    names = sorted(path.name for path in paths)
    if len(names) < 10:
        raise InputError(f"{len(names)} captioned photos are too few to train, validate and test; give at least 10.")
    random.Random(seed).shuffle(names)
    tenth = len(names) // 10
    return {name: "val" if i < tenth else "test" if i < 2 * tenth else "train" for i, name in enumerate(names)}


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


def caption_lengths(photos: Sequence[Photo]) -> list[int]:
    """Words of each caption, after cleaning."""
    return [len(clean_caption(caption).split()) for photo in photos for caption in photo.captions]
