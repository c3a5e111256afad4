"""Data sets: fetch or draw them, read their captions and splits, check every photo, and make the manifest.

Rows and photos that cannot be used are left out and named in `Manifest.notices`.
"""

import random
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from helpers.data.descriptions import ENGLISH
from helpers.data.images import check_photos
from helpers.data.layouts import read_captioned
from helpers.data.manifest import SPLITS, Manifest, Photo
from helpers.data.readers.class_folders import check_counts, read_class_folder
from helpers.data.readers.karpathy import read_karpathy_split
from helpers.downloads import ClimbsOut, Damaged, members_inside, patiently
from helpers.environment import project_root
from helpers.files import InputError, fingerprint_files, fingerprint_folder, there
from helpers.profiles import Profile
from helpers.sample.draw import draw_sample


def prepare(profile: Profile) -> tuple[Manifest, dict[str, str]]:
    """Fetch or draw the profile's data, read it and check every photo.

    Returns:
        The manifest, and the fingerprint of each folder or file that it was read from, by path.

    Raises:
        InputError: a download fails, a folder is missing or incomplete, or nothing usable is left.
    """
    notices: list[str] = []
    captions_root, split_file, classes_root = _roots(profile)
    captioned = read_captioned(captions_root, notices)
    splits = read_karpathy_split(split_file) if split_file else random_split(captioned, profile.seed)
    ids = {path: normalize("NFC", path.name) for path in captioned}  # é is one character there, whoever named the file
    photos = [
        Photo(ids[path], path, captions, splits[ids[path]])
        for path, captions in captioned.items()
        if ids[path] in splits
    ]
    if len(photos) < len(captioned):
        notices.append(f"{len(captioned) - len(photos):,} photos are not in the split file and are left out.")
    if len(photos) < len(splits):
        notices.append(f"{len(splits) - len(photos):,} photos of the split file are not in {captions_root}.")
    class_photos = read_class_folder(classes_root, profile.seed, notices) if classes_root else []

    bad, repaired = check_photos([photo.path for photo in [*photos, *class_photos]])
    notices += [f"skipped: {reason}" for reason in bad.values()]
    notices += [f"{path}: {notice}." for path, notice in repaired.items()]
    photos = [photo for photo in photos if photo.path not in bad]
    class_photos = [photo for photo in class_photos if photo.path not in bad]
    if classes_root:
        check_counts(classes_root, class_photos)
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
    if not there(root.is_dir):
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
    import requests
    from kagglehub.cache import get_cached_archive_path
    from kagglehub.handle import parse_dataset_handle

    def fetch() -> Path:
        try:
            with members_inside():
                return Path(kagglehub.dataset_download(handle))
        except ClimbsOut:
            Path(get_cached_archive_path(parse_dataset_handle(handle))).unlink(missing_ok=True)
            raise
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError) as error:
            archive = Path(get_cached_archive_path(parse_dataset_handle(handle)))
            if isinstance(error, requests.RequestException) or not archive.exists():
                raise
            archive.unlink()  # else it would count as complete for ever
            raise Damaged from error

    return patiently(
        fetch,
        f"The Kaggle data set {handle}",
        f"check the connection and your Kaggle access, or give a folder of your own with {setting}",
    )


def random_split(paths: Iterable[Path], seed: int) -> dict[str, str]:
    """About 80 % train, 10 % val, 10 % test, by photo, the same for the same seed and names.

    Raises:
        InputError: fewer than ten photos.
    """
    names = sorted(normalize("NFC", path.name) for path in paths)
    if len(names) < 10:
        raise InputError(f"{len(names)} captioned photos are too few to train, validate and test; give at least 10.")
    random.Random(seed).shuffle(names)
    tenth = len(names) // 10
    return {name: "val" if i < tenth else "test" if i < 2 * tenth else "train" for i, name in enumerate(names)}
