"""A folder of a captioned data set: its photos, found by what its caption files call them, and its other files."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

from helpers.data.images import SUFFIXES, find_photos
from helpers.data.left_out import Findings
from helpers.data.manifest import Split, split_called
from helpers.data.readers.plain_text import read_head, read_text
from helpers.files import InputError, digest, there

TEXTS = (".txt", ".caption", ".cap", ".json")  # what may lie beside a photo and say its captions, the likeliest first
LONGEST = 10_000  # characters of a caption
_LOST = re.compile("[\ufffd\ud800-\udfff]")  # what stands for a letter that could not be decoded
_DEEPEST = 3  # folders below the first in which caption files are looked for


class Row(NamedTuple):
    """A caption as its file has it."""

    photo: str  # its name there
    caption: str
    where: str  # the place in the file, for messages: "line 7"
    split: Split | None = None


class Captioned(NamedTuple):
    """What a reader makes of a folder."""

    captions: dict[Path, tuple[str, ...]]
    splits: dict[Path, Split]  # of photos whose layout says so
    what: str  # what was recognised, for people


class Place:
    """A folder, walked through once.

    Attributes:
        folder: where it is.
        photos: all photos in it and in the folders in it.
        others: the other files: why they are no photos.
        encoding: of its text files, where they are not UTF-8 or UTF-16.
        scratch: where photos go that are packed in another file, or None.
    """

    def __init__(self, folder: Path, encoding: str | None = None, scratch: Path | None = None) -> None:
        self.folder, self.encoding, self.scratch = folder, encoding, scratch
        self.photos, self.others = find_photos(folder)

    def files(self, *suffixes: str) -> list[Path]:
        """Files that are no photos and end in one of `suffixes`, those in the upper folders first.

        Without `beside`, where at least half of the photos have such a text.
        """
        texts = self.beside if self.mostly_beside else {}
        found = [path for path in self.others if path.suffix.lower() in suffixes and path not in texts]
        found = [one for one in found if len(one.relative_to(self.folder).parts) <= _DEEPEST + 1 and there(one.is_file)]
        return sorted(found, key=lambda path: (len(path.parts), len(path.name), path))

    def text(self, path: Path, findings: Findings) -> str:
        """The text of a file in the folder; see `read_text`."""
        return read_text(path, findings, self.encoding)

    def head(self, path: Path) -> str:
        """How the text of a file begins; see `read_head`."""
        return read_head(path, self.encoding)

    def name(self, path: Path) -> str:
        """`path` as seen from the folder, composed (NFC)."""
        below = str(path)[len(str(self.folder)) :].replace(os.sep, "/").lstrip("/")
        return normalize("NFC", below)  # which pathlib would do, too, in ten times as long

    @cached_property
    def beside(self) -> dict[Path, list[Path]]:
        """Texts beside photos of the same name but for the suffix (`dog.txt`, `dog.jpg`), and those photos."""
        photos, texts = self._photos_by_stem, self._texts
        # In another case only where the photo has no text of its own: some names differ in nothing else.
        bare = {stem.casefold(): stem for stem in sorted(photos.keys() - set(texts.values()))}
        stems = {path: stem if stem in photos else bare.get(stem.casefold()) for path, stem in texts.items()}
        return {path: photos[stem] for path, stem in stems.items() if stem is not None}

    def beside_none(self) -> dict[Path, str]:
        """Texts that lie beside no photo; and why the file is none that one lies beside, "" where there is no file."""
        reasons = {self._stem(one): why for one, why in self.others.items() if one not in self._texts}
        return {one: reasons.get(self._texts[one], "") for one in sorted(self._texts.keys() - self.beside.keys())}

    @cached_property
    def mostly_beside(self) -> bool:
        """Whether at least half of the photos have a text beside them."""
        told = {photos[0] for photos in self.beside.values()}
        return bool(told) and 2 * len(told) >= len(self._photos_by_stem)

    @cached_property
    def _texts(self) -> dict[Path, str]:
        """What may lie beside photos, each with its stem."""
        return {one: self._stem(one) for one in self.others if one.suffix.lower() in TEXTS and there(one.is_file)}

    @cached_property
    def _photos_by_stem(self) -> dict[str, list[Path]]:
        photos: dict[str, list[Path]] = defaultdict(list)
        for path in self.photos:
            photos[self._stem(path)].append(path)
        return photos

    def _stem(self, path: Path) -> str:
        return self.name(path).removesuffix(normalize("NFC", path.suffix))

    @cached_property
    def _by_end(self) -> dict[str, list[Path]]:
        """Photos by each end of their paths: a caption file knows more or fewer folders."""
        known: dict[str, list[Path]] = defaultdict(list)
        for end, path in self._exactly.items():
            while end:
                known[end].append(path)
                _, _, end = end.partition("/")
        return known

    @cached_property
    def _loosely(self) -> dict[str, list[Path]]:
        """The same in small letters, with the suffix and without."""
        known: dict[str, list[Path]] = defaultdict(list)
        for end, paths in self._by_end.items():
            for key in {end.casefold(), end.removesuffix(paths[0].suffix).casefold()}:
                known[key] += paths
        return known

    @cached_property
    def _exactly(self) -> dict[str, Path]:
        return {self.name(path): path for path in self.photos}

    def seen_from(self, file: Path) -> Callable[[str], str]:
        """What makes a name in `file` one that `find` takes, where files name photos from their own folders on."""
        if file.parent == self.folder:
            return str
        folder = PurePosixPath(self.name(file.parent))

        def whole(name: str) -> str:
            full = normalize("NFC", (folder / name.strip()).as_posix())
            return full if full in self._exactly else name

        return whole

    def find(self, names: Iterable[str]) -> dict[str, Path | None]:
        """The photo that each of the names in a file calls, composed or not, in another case, or with no suffix.

        Where the file was written while the photos lay in other folders, those are left away; unless the photo that
        is found so has a name of its own in the file, or the folder that was left away is here, too, and photos in it
        are named: then the photo that is meant is missing.
        """
        found: dict[str, Path | None] = {}
        moved: dict[str, str] = {}  # name: the last folder that was left away
        for name in dict.fromkeys(names):
            paths, folder = self._candidates(name)
            found[name] = paths[0] if paths and _are_one(paths) else None
            if folder and found[name]:
                moved[name] = folder
        still = {path for name, path in found.items() if path and name not in moved}
        here: dict[str, set[Path]] = defaultdict(set)  # folders by their names in small letters
        for folder in {folder for parent in {path.parent for path in still} for folder in (parent, *parent.parents)}:
            if folder != self.folder and folder.is_relative_to(self.folder):
                here[normalize("NFC", folder.name).casefold()].add(folder)
        for name, folder in moved.items():
            path = found[name]
            if path in still or here[folder.casefold()].difference(path.parents):
                found[name] = None
        return found

    def _candidates(self, name: str) -> tuple[list[Path], str]:
        """The photos that `name` may call, and the last of its folders that had to be left away; "": none had to."""
        raw = normalize("NFC", name)
        plain = raw.strip().replace("\\", "/").removeprefix("./")
        for whole in dict.fromkeys((raw, raw.strip(), plain)):
            if whole in self._exactly:
                return [self._exactly[whole]], ""
            if whole in self._by_end:
                return self._by_end[whole], ""
        folder = ""
        while plain:
            for known, key in ((self._by_end, plain), (self._loosely, plain.casefold())):
                if key in known:
                    return known[key], folder
            folder, _, plain = plain.partition("/")
        return [], ""

    def names_a_photo(self, cell: str, whole: bool = False) -> bool:
        """Whether `cell` is the name of a photo: one that is here, or one that ends as photos do.

        With `whole`, its name with its suffix.
        """
        cell = normalize("NFC", cell.strip().strip('"'))
        if len(cell) > 1000:
            return False
        if PurePosixPath(cell).suffix.lower() in SUFFIXES or cell in self._by_end:
            return True
        return not whole and bool(self._candidates(cell)[0])

    def why_missing(self, name: str) -> str:
        """Why `find` found nothing, in the words of `Findings`."""
        paths, _ = self._candidates(name)
        if paths and not _are_one(paths):
            return "of a name that several photos have"
        if paths:
            return "of a photo that is missing, though one of its name is here"
        ending = normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)
        other = next((why for path, why in self.others.items() if normalize("NFC", path.name) == ending), None)
        return f"of a file that is no photo ({other})" if ending and other else "of a photo that is missing"


def _are_one(paths: list[Path]) -> bool:
    """Whether all are copies of one photo."""
    if len(paths) == 1:
        return True
    return len({path.stat().st_size for path in paths}) == 1 and len({digest(path) for path in paths}) == 1


def _may_be_one(name: str, other: str) -> bool:
    """Whether both can be names of one photo: the same, with more or fewer folders before it."""
    if name == other:
        return True
    first, second = (
        normalize("NFC", one.strip()).replace("\\", "/").casefold().rpartition(".") for one in (name, other)
    )
    first, second = (stem or suffix for stem, _, suffix in (first, second))
    return first.endswith(second) or second.endswith(first)


def join(rows: Iterable[Row], place: Place, file: Path, findings: Findings, what: str) -> Captioned:
    """The captions of each photo, in the order of `rows`; what has no photo or no words is left out and named.

    Args:
        rows: of `file`.
        what: what was recognised, for people.

    Raises:
        InputError: no row belongs to a photo.
    """
    rows = list(rows)
    named = place.find(row.photo for row in rows)
    captions: dict[Path, list[str]] = {path: [] for path in named.values() if path}
    splits: dict[Path, Split] = {}
    called: dict[Path, str] = {}
    for row in rows:
        path = named[row.photo]
        caption = " ".join(row.caption.split())
        if path is None:
            reason = place.why_missing(row.photo)
        elif called.setdefault(path, row.photo) is not row.photo and not _may_be_one(called[path], row.photo):
            reason = "under a second name of their photo"
        elif not any(map(str.isalnum, caption)):
            reason = "without words"
        elif _LOST.search(caption):
            reason = "with a lost letter (�)"
        elif len(caption) > LONGEST:
            reason = f"longer than {LONGEST:,} characters"
        elif caption in captions[path]:
            reason = "said of the same photo before"
        else:
            captions[path].append(caption)
            if row.split is not None and splits.setdefault(path, row.split) != row.split:
                raise InputError(
                    f"{file} has {row.photo} in {splits[path]} and in {row.split} ({row.where}); give it one split."
                )
            continue
        findings.leave_out("caption", f"{row.photo} ({file.name}, {row.where})", reason, caption)
    found = {path: tuple(texts) for path, texts in captions.items() if texts}
    if not found:
        raise InputError(f"No row of {file} belongs to a photo in {place.folder}; check the names that it gives.")
    return Captioned(found, splits, what)


_SPLIT_WORD = re.compile(r"(?:^|[^a-z])(train|training|val|valid|validation|dev|test|testing)(?:[^a-z]|images|$)")


def split_of(path: Path, folder: Path, by_folder: bool = False) -> Split | None:
    """The split that the name of a file says (not with `by_folder`), or that of a folder between it and `folder`."""
    for part in (*([] if by_folder else [path.stem]), *reversed(path.relative_to(folder).parts[:-1])):
        if word := _SPLIT_WORD.search(part.lower()):
            return split_called(word[1])
    return None


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip():
            yield number, line
