"""Data sets: fetch or draw them, read their captions and splits, check every photo, and make the manifest.

What cannot be used is left out and named, in sentences in `Manifest.notices` and one by one in `dataset/left_out.csv`.
"""

import os
import random
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from helpers.data.descriptions import ENGLISH
from helpers.data.images import Check, check_photos
from helpers.data.known_sets import announce, check_counts
from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.data.manifest import SPLITS, ClassPhoto, Manifest, Photo, Split
from helpers.data.readers.class_folders import LEAST, read_class_folder, usable_classes
from helpers.data.readers.karpathy import name_in_split_file, read_karpathy_split
from helpers.data.text import is_english
from helpers.downloads import ClimbsOut, Damaged, members_inside, patiently
from helpers.environment import located, portable
from helpers.files import InputError, beginning, copies, sighted, there
from helpers.profiles import Profile
from helpers.sample.draw import HELD_OUT, draw_sample

_ON_FLICKR = re.compile(r"(\d{5,})(_[0-9a-f]{10}(?:_[a-z])?)?\.jpe?g", re.IGNORECASE)


class Source(NamedTuple):
    """A data set of captioned photos."""

    name: str
    root: Path
    split_file: Path | None  # of Karpathy; None: the split that its layout tells, else one by chance
    handle: str | None = None  # on Kaggle


def prepare(profile: Profile) -> tuple[Manifest, dict[str, str], Findings]:
    """Fetch or draw the profile's data, read it and check every photo.

    Returns:
        The manifest, the fingerprint of each folder or file that it was read from, by path, and what was left out.

    Raises:
        InputError: a download fails, a folder is missing or incomplete, or nothing usable is left.
    """
    findings = Findings()
    _check_encoding(profile.captions_encoding)
    sources, classes_root = _sources(profile)
    photos: list[Photo] = []
    for source in sources:
        photos += _not_seen_yet(photos, _captioned(source, len(sources) > 1, profile, findings), findings)
    class_photos = read_class_folder(classes_root, profile.seed, findings) if classes_root else []
    if profile.classes_handle and not profile.classes_folder:
        check_counts(profile.classes_handle, len(class_photos), 0, findings)
    orders = [(photos, len(photos)), (class_photos, len(class_photos))]
    if profile.limit is not None:
        orders = [*_slice(photos, profile), *_slice_of_classes(class_photos, profile)]
    kept, (bad, repaired) = _usable(orders)
    for path, problem in bad.items():
        findings.leave_out("photo", path, "not usable as a photo", problem)
    for path, notice in repaired.items():
        findings.say(f"{path}: {notice}.")
    photos = [photo for photo in photos if photo in kept]
    if classes_root:
        seen = [photo for photo in class_photos if photo in kept or photo.path in bad]
        class_photos = usable_classes(classes_root, seen, bad, findings)
    for split in SPLITS:
        count = sum(photo.split == split for photo in photos)
        if count < (2 if split == "train" else 1):  # from a single photo there is nothing to learn
            roots, number = " and ".join(str(source.root) for source in sources), "A single" if count else "No"
            raise InputError(f"{number} usable photo is left in the {split} split of {roots}; add photos or captions.")

    read = [*(source.root for source in sources), *(source.split_file for source in sources), classes_root]
    if not is_english(caption for photo in photos for caption in photo.captions):
        findings.say(
            "The captions do not look English: METEOR is left out, keywords are all words, and the sentence encoder "
            "that is installed knows English only (docs/layouts.md, Languages)."
        )
    import matplotlib  # here, since it takes a second

    from helpers.plots import without_font

    if lost := without_font(caption for photo in photos for caption in photo.captions):
        findings.say(
            f"No font here has {len(lost):,} of the captions' letters ({beginning(lost, 9)}), and pictures show boxes. "
            "Install one that has them, such as Noto Sans CJK for Chinese, Japanese and Korean, and delete "
            f"{matplotlib.get_cachedir()}, where Matplotlib keeps its list of fonts."
        )
    fingerprints = {portable(place): sighted(place) for place in read if place}
    return Manifest(profile.title, photos, class_photos, findings.sentences), fingerprints, findings


def _captioned(source: Source, of_several: bool, profile: Profile, findings: Findings) -> list[Photo]:
    """The captioned photos of a data set, with their splits."""
    captions, splits, _ = read_captioned(source.root, findings, profile.captions_encoding, profile.data / "unpacked")
    if source.handle:
        check_counts(source.handle, len(captions), sum(map(len, captions.values())), findings)
    ids = _ids(captions, source, of_several)
    if source.split_file:
        known = read_karpathy_split(source.split_file)
        splits = {path: known[name] for path in captions if (name := name_in_split_file(path)) in known}
        if len(splits) < len(known):
            findings.say(f"{len(known) - len(splits):,} photos of {source.split_file} are not in {source.root}.")
    if splits:
        for path in captions:
            if path not in splits:
                findings.leave_out("photo", ids[path], "in none of the splits")
    told = {ids[path]: split for path, split in splits.items() if path in ids}
    by_id = {id_: path for path, id_ in ids.items()}
    # Copies of a photo go where it goes: one to test with is none to train on under another name.
    lacking = not set(SPLITS) <= set(told.values())
    by_chance = [id_ for id_ in told or by_id if told.get(id_, "train") == "train"] if lacking else []
    copy_of = {ids[copy]: ids[first] for copy, first in copies(by_id[id_] for id_ in by_chance).items()}
    if splits:
        alone = {id_: split for id_, split in told.items() if id_ not in copy_of}
        chosen = complete_splits(alone, profile.seed, findings)
    else:
        chosen = random_split(by_id.keys() - copy_of.keys(), profile.seed)
    chosen |= {copy: chosen[first] for copy, first in copy_of.items()}
    return [
        Photo(ids[path], path, texts, chosen[ids[path]], source.name)
        for path, texts in captions.items()
        if ids[path] in chosen
    ]


def _ids(paths: Iterable[Path], source: Source, of_several: bool) -> dict[Path, str]:
    """What to call each photo: its file's name, with its folders where two are called alike, and its set of several."""
    names = {path: normalize("NFC", path.name) for path in paths}  # é is one character, whoever named the file
    counts = Counter(names.values())
    alike = [path for path, name in names.items() if counts[name] > 1]
    inside = all(path.is_relative_to(source.root) for path in alike)  # and not unpacked elsewhere
    root = source.root if inside else Path(os.path.commonpath(alike))
    ids = names | {path: normalize("NFC", path.relative_to(root).as_posix()) for path in alike}
    return {path: f"{source.name}/{name}" for path, name in ids.items()} if of_several else ids


def _not_seen_yet(photos: list[Photo], others: list[Photo], findings: Findings) -> list[Photo]:
    """`others` without those that are in `photos`, too: a test photo of one set must not train in another.

    The same are files with the same bytes. Flickr30k holds Flickr8k's photos made anew, under shorter names: both begin
    with the photo's number on Flickr, and in Flickr8k a secret follows it.
    """
    if not photos:
        return others
    numbers = {named[1]: photo for photo in photos if (named := _ON_FLICKR.fullmatch(photo.path.name))}
    by_path = {photo.path: photo for photo in photos}
    first_of = copies(photo.path for photo in [*photos, *others])

    def same(photo: Photo) -> Photo | None:
        named = _ON_FLICKR.fullmatch(photo.path.name)
        known = numbers.get(named[1]) if named else None
        if known is not None and (named[2] or _ON_FLICKR.fullmatch(known.path.name)[2]):
            return known
        return by_path.get(first_of.get(photo.path))

    new = []
    for photo in others:
        if (known := same(photo)) is None:
            new.append(photo)
        else:
            findings.leave_out("photo", photo.id, f"already in {known.origin}", known.id)
    return new


Order = tuple[Sequence[Photo | ClassPhoto], int]  # photos, and how many of them are wanted, the first ones first


def _usable(orders: Sequence[Order]) -> tuple[set[Photo | ClassPhoto], Check]:
    """The photos that are wanted of each order, and what looking at them found out.

    In the place of one that cannot be used comes the next: a slice may have a single photo of a class to validate with.
    """
    seen = Check({}, {})
    looked_at: set[Path] = set()
    while True:
        wanted = [
            photo
            for photos, count in orders
            for photo in islice((photo for photo in photos if photo.path not in seen.bad), count)
        ]
        new = list(dict.fromkeys(photo.path for photo in wanted if photo.path not in looked_at))
        if not new:
            return set(wanted), seen
        bad, repaired = check_photos(new)
        looked_at.update(new)
        seen.bad.update(bad)
        seen.repaired.update(repaired)


def _slice(photos: list[Photo], profile: Profile) -> list[Order]:
    """At most `limit` of the photos, by chance, with the same share in each split (see `HELD_OUT`).

    Of the same set and seed a smaller slice is a part of a larger one.
    """
    if len(photos) <= profile.limit:
        return [(photos, len(photos))]
    drawn = sorted(photos, key=lambda photo: photo.id)
    random.Random(profile.seed).shuffle(drawn)
    parts = [[photo for photo in drawn if photo.split == split] for split in SPLITS]
    learn, *held_out = (len(part) * profile.limit // len(drawn) for part in parts)
    held_out = [max(HELD_OUT, count) for count in held_out]
    return list(zip(parts, [max(1, min(learn, profile.limit - sum(held_out))), *held_out], strict=True))


def _slice_of_classes(photos: list[ClassPhoto], profile: Profile) -> list[Order]:
    """As many of each class as make `limit` together, but no fewer than a class needs; see `_slice`."""
    labels = sorted({photo.label for photo in photos})
    each = max(LEAST, profile.limit // max(1, len(labels)))
    orders: list[Order] = []
    for label in labels:
        of_class = [photo for photo in photos if photo.label == label]
        for split in SPLITS:
            part = sorted((photo for photo in of_class if photo.split == split), key=lambda photo: photo.id)
            random.Random(f"{profile.seed} {label} {split}").shuffle(part)
            orders.append((part, -(-len(part) * each // len(of_class))))
    return orders


def _sources(profile: Profile) -> tuple[list[Source], Path | None]:
    """The captioned data sets, and the folder of the class photos; own folders come first."""
    own = _own_folders(profile.captions_folder, "captions_folder")
    sources = [Source(name, root, None) for name, root in zip(_names(own), own, strict=True)]
    classes_root = next(iter(_own_folders(profile.classes_folder, "classes_folder", several=False)), None)
    if not sources and profile.captions_handle:
        handles = [handle.strip() for handle in profile.captions_handle.split("+")]
        named = (profile.split_file or "") if profile.split_handle else ""
        files = [file.strip() for file in named.split("+")] if named else []
        for handle, file in zip_longest(handles, files):
            if handle is None:
                raise InputError(
                    f"split_file names {len(files)} files for {len(handles)} data sets; give one for each."
                )
            root = download(handle, "captions_folder")
            split_file = _find_split_file(profile.split_handle, file) if file else None
            sources.append(Source(handle.split("/")[1], root, split_file, handle))
    if classes_root is None and profile.classes_handle:
        classes_root = download(profile.classes_handle, "classes_folder")
    if profile.captions_handle is None and not (sources and classes_root):
        sample = profile.sample
        draw_sample(sample, profile.scenes, profile.pictures_per_class, profile.seed, ENGLISH)
        if not sources:
            sources = [Source("sample", sample / "captions", sample / "captions" / "dataset_sample.json")]
        classes_root = classes_root or sample / "animals"
    return sources, classes_root


def _own_folders(setting: str | None, name: str, several: bool = True) -> list[Path]:
    """The folders that a setting names, joined by "+"."""
    if setting is None:
        return []
    whole = located(setting)
    if there(whole.is_dir):
        return [whole]
    parts = [part.strip() for part in setting.split("+")] if several else [setting]
    if not all(parts):
        raise InputError(f"{name}={setting!r} names no folder beside a +; take the + out, or name one there.")
    folders = [located(part) for part in parts]
    for folder in folders:
        if not there(folder.is_dir):
            raise InputError(f"The folder {folder} does not exist; correct the setting {name}.")
    return folders


def _check_encoding(encoding: str | None) -> None:
    try:
        " ".encode(encoding or "utf-8")  # what is looked up alone may be base64, which is no encoding of text
    except (LookupError, UnicodeError):
        raise InputError(
            f"There is no encoding {encoding!r}; give one such as cp1252 or gb18030 with captions_encoding."
        ) from None


def _names(folders: list[Path]) -> list[str]:
    """A name for each folder: its own, with the one above it where two are called alike."""
    counts = Counter(folder.name for folder in folders)
    return [folder.name if counts[folder.name] == 1 else "-".join(folder.resolve().parts[-2:]) for folder in folders]


def _find_split_file(handle: str, name: str) -> Path:
    root = download(handle, "captions_folder")
    found = sorted(root.rglob(name))
    if not found:
        raise InputError(
            f"{root} holds no {name}; correct split_file, or delete that folder so that it is downloaded again."
        )
    return found[0]


def download(handle: str, setting: str) -> Path:
    """The folder of a Kaggle data set, downloaded on first use (`KAGGLEHUB_CACHE` says where to).

    Raises:
        InputError: it cannot be had, and the message names `setting` as the way around; or it will not fit on the disk.
    """
    import kagglehub
    import requests
    from kagglehub.cache import get_cached_archive_path, get_cached_path
    from kagglehub.handle import parse_dataset_handle
    from kagglehub.kaggle_cache_resolver import DatasetKaggleCacheResolver

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

    kept = archive = None
    with suppress(ValueError):  # what is wrong with a handle, `fetch` will say
        parsed = parse_dataset_handle(handle)
        kept, archive = Path(get_cached_path(parsed)), Path(get_cached_archive_path(parsed))
    # Kaggle's own notebooks are lent the data sets, and download nothing.
    if kept and not kept.exists() and not DatasetKaggleCacheResolver().is_supported():
        announce(handle, kept.parent, archive.stat().st_size if archive.exists() else 0)
    return patiently(
        fetch,
        f"The Kaggle data set {handle}",
        f"check the connection and your Kaggle access, or give a folder of your own with {setting}",
    )


def random_split(ids: Iterable[str], seed: int) -> dict[str, Split]:
    """About 80 % train, 10 % val, 10 % test (see `HELD_OUT`), by photo, the same for the same seed and names.

    Raises:
        InputError: fewer than ten photos.
    """
    ids = sorted(ids)
    if len(ids) < 10:
        raise InputError(
            f"{len(ids)} different captioned photos are too few to train, validate and test; give at least 10."
        )
    random.Random(seed).shuffle(ids)
    tenth = max(HELD_OUT, len(ids) // 10)
    return {id_: "val" if i < tenth else "test" if i < 2 * tenth else "train" for i, id_ in enumerate(ids)}


def complete_splits(splits: dict[str, Split], seed: int, findings: Findings) -> dict[str, Split]:
    """`splits` by photo; a split without one gets a tenth of all (see `HELD_OUT`) out of "train", by chance.

    Raises:
        InputError: there are none to take.
    """
    missing = [split for split in SPLITS if split not in splits.values()]
    train = sorted(id_ for id_, split in splits.items() if split == "train")
    tenth = max(HELD_OUT, len(splits) // 10)
    if missing and len(train) <= tenth * len(missing):
        raise InputError(
            f"The data set tells its splits: {len(train)} photos to train on, and none for {' and '.join(missing)}; "
            "give at least ten to train on."
        )
    random.Random(seed).shuffle(train)
    for split in missing:
        findings.say(f"The data set has no photos for {split}; {tenth:,} of those to train on are taken.")
        splits = splits | dict.fromkeys(train[:tenth], split)
        train = train[tenth:]
    return splits
