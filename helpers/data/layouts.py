"""Layouts: which of the known ways a folder of captioned photos is laid out in, told by what it holds.

A new layout is a module in `readers/` and a line in `READERS`.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.data.manifest import Split
from helpers.data.readers.coco import read_coco, read_like_coco
from helpers.data.readers.packed import unpacked
from helpers.data.readers.place import Captioned, Place, split_of
from helpers.data.readers.records import read_records
from helpers.data.readers.sidecars import first_in_words, read_sidecars
from helpers.data.readers.split_lists import read_split_lists
from helpers.data.readers.tables import read_tables
from helpers.data.readers.token_files import read_tokens
from helpers.environment import pasted
from helpers.files import InputError

READERS: tuple[Callable[[Place, Findings], Captioned | None], ...] = (  # the first that recognises a folder reads it
    read_coco,
    read_tokens,
    read_tables,
    read_like_coco,
    read_records,
    read_sidecars,
)


def read_captioned(
    folder: Path, findings: Findings, encoding: str | None = None, scratch: Path | None = None
) -> Captioned:
    """Photos with their captions from `folder`, whichever layout it has; what was recognised is printed.

    Args:
        findings: gets what is left out.
        encoding: of text files that are neither UTF-8 nor UTF-16.
        scratch: where photos go that are packed in a tar or a Parquet file; without it those are not read.

    Raises:
        InputError: no layout is recognised, or what is recognised cannot be read.
    """
    place = Place(folder, encoding, scratch)
    place = unpacked(place, findings) or place
    if not place.photos:
        raise InputError(
            f"{folder} holds no photos; give a folder with photos and a file of captions (if it was downloaded, delete "
            "it and run again)."
        )
    read, found = next(
        ((read, found) for read in READERS if (found := read(place, findings)) is not None), (None, None)
    )
    if found is None:
        raise InputError(_no_captions(place))
    if read is not read_sidecars and (text := first_in_words(place)):
        raise InputError(
            f"{place.folder} holds captions twice: {found.what}; and texts beside the photos, such as "
            f"{place.name(text)}; take those out of the folder that are not to be read."
        )
    print(f"{folder}: {found.what}")
    _name_photos_without_captions(place, found, findings)
    splits = found.splits or read_split_lists(place, findings) or _splits_by_folder(place, found)
    return found._replace(splits=splits)


def _name_photos_without_captions(place: Place, found: Captioned, findings: Findings) -> None:
    """Each one beside photos with captions, and how many there are in other folders."""
    folders = {path.parent for path in found.captions}
    elsewhere: Counter[Path] = Counter()
    for path in place.photos:
        if path.parent not in folders:
            elsewhere[path.parent] += 1
        elif path not in found.captions:
            findings.leave_out("photo", place.name(path), "without a caption")
    for other, count in elsewhere.items():
        findings.say(f"None of the {count:,} photos in {other} has a caption, so this folder is not used.")


def _splits_by_folder(place: Place, found: Captioned) -> dict[Path, Split]:
    """The splits that the names of the photos' folders tell, if it is more than one and all of them do."""
    folders = {path.parent for path in found.captions}
    splits = {folder: split_of(folder / "photo", place.folder, by_folder=True) for folder in folders}
    if None in splits.values() or len(set(splits.values())) < 2:
        return {}
    return {path: splits[path.parent] for path in found.captions}


def _no_captions(place: Place) -> str:
    where = f"{place.folder} holds {len(place.photos):,} photos and no captions that are recognised"
    if len({path.relative_to(place.folder).parts[0] for path in place.photos}) > 1 and all(
        len(path.relative_to(place.folder).parts) > 1 for path in place.photos
    ):
        where += " (if its folders are classes, set classes_folder instead)"
    album = pasted(["make", "album", f"PHOTOS={place.folder}"])
    return (
        f"{where}; to find and caption photos without any, run `{album}` (notebook 07), and to train on them add "
        "captions.csv with the header image,caption, or a .txt beside each photo."
    )
