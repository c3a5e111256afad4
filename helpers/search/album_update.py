"""Bringing an album up to date: which photos are new, changed, moved or gone, and what models make of them.

Photos are opened ahead of the models, on all cores. What the models made of a chunk is kept before the next one begins,
so that an update may end at any moment, and goes on there the next time.
"""

import errno
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from stat import S_ISREG

import numpy as np

from helpers.data.images import load_photo
from helpers.data.readers.place import Place
from helpers.environment import ahead, chunks, keep_freed_memory, progress
from helpers.files import InputError
from helpers.search.album_models import Describer, Encoder
from helpers.search.album_store import AlbumStore, File, Look, unchanged
from helpers.search.copies import Originals, thumbnail
from helpers.search.reranking import crowding

_CHUNK = 64  # photos that are looked at together, and kept together


@dataclass
class Tally:
    """What `Album.update` did.

    Attributes:
        taken: photos that are in the album now.
        new, changed, moved, removed: how many of them are so since the last time.
        left_out: files that could not be taken, and why.
    """

    taken: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ((getattr(self, name), name) for name in ("new", "changed", "moved", "removed"))
        news = ", ".join(f"{count:,} {name}" for count, name in counts if count) or "nothing new"
        reasons = Counter(reason.split(" (")[0] for reason in self.left_out.values())
        why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        return f"{self.taken:,} photos: {news}; {len(self.left_out):,} left out" + (f": {why}" if why else "") + "."


@dataclass(frozen=True)
class _Seen:
    """A file that was opened: what it is, and its squares unless its content is known, or why it cannot be used.

    Nothing of all this: it is gone.
    """

    path: str
    file: File | None = None
    squares: tuple[np.ndarray, ...] = ()
    problem: str = ""


class Update:
    """One update of the album that is kept in `store`, of the photos in `folder`."""

    def __init__(self, folder: Path, store: AlbumStore, encoder: Encoder, captioner: Describer | None) -> None:
        self.folder, self._store, self._encoder, self._captioner = folder, store, encoder, captioner
        self.tally = Tally()
        self._ids: dict[str, Path] = {}

    def find(self) -> None:
        """See which photos there are, and change nothing yet.

        Raises:
            InputError: there is no photo.
        """
        place = Place(self.folder)
        self._ids = {self._id(path): path for path in place.photos}
        written = set(map(Path, self._store.written()))
        self.tally.left_out = {
            self._id(path): why
            for path, why in place.others.items()
            if path not in written
            and path not in place.beside
            and not self._store.keeps(path)  # last, since it may read the file
        }
        if not self._ids:
            raise InputError(self.nothing())

    def run(self) -> bool:
        """Look at new and changed photos, caption those without a caption, forget those that `find` found gone.

        Returns:
            Whether there was anything to do.
        """
        files = self._store.files()
        # In a folder that cannot be opened now, photos are not gone.
        closed = tuple(f"{one}/" for one in self.tally.left_out)
        gone = {one for one in files.keys() - self._ids.keys() if not (one.startswith(closed) or self._closed(one))}
        taken = self._take_new(files, gone)
        left_out = self.tally.left_out.keys() & files.keys()
        gone_or_broken = gone | {one for one in left_out if not self._closed(one)}
        self._store.remove(gone_or_broken)
        self.tally.removed = len(gone) - self.tally.moved
        captioned = self._caption_others()
        return bool(taken or gone_or_broken or captioned)

    def shows_another(self, id_: str, digest: str, known: np.ndarray) -> bool:
        """Whether the file holds another photo now than one that was looked at, given by its digest and thumbnail.

        What cannot be opened shows nothing else.
        """
        seen = self._open(id_, {digest})
        return bool(seen.squares) and not unchanged(known.tobytes(), thumbnail(seen.squares[0]).tobytes())

    def nothing(self) -> str:
        """What to say where no photo can be used."""
        seen = Counter(self.tally.left_out.values()).most_common(5)
        what = "; ".join(f"{count:,} files: {why}" for why, count in seen) or "it holds no files that are not hidden"
        return f"There is no photo in {self.folder} that can be used ({what}); give a folder of photos."

    def _id(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _take_new(self, files: Mapping[str, File], gone: set[str]) -> int:
        """Look at photos that are new or changed, keep what the models make of them, and say how many files it took.

        Photos that went away since they were found join those that are `gone`.
        """
        looked_at = set(self._store.captioned())
        known = {id_: file for id_, file in files.items() if file.digest in looked_at}
        fresh = []
        for id_, path in self._ids.items():
            try:
                status = path.stat()
            except OSError:  # opened below, which says what there is to say
                fresh.append(id_)
                continue
            if id_ not in known or (known[id_].size, known[id_].time) != (status.st_size, status.st_mtime_ns):
                fresh.append(id_)
        taken = 0
        homeless = Counter(known[id_].digest for id_ in gone & known.keys())  # contents that may be elsewhere now
        for part in self._opened(fresh, looked_at, "looking at photos"):
            looks = {}
            for seen in part:
                if seen.problem:
                    self.tally.left_out[seen.path] = seen.problem
                elif seen.file is None:
                    gone |= {seen.path} & files.keys()
                elif seen.squares and seen.file.digest not in looked_at:
                    looks[seen.file.digest] = seen.squares
            found = [seen.file for seen in part if seen.file is not None]
            self._store.add(found, self._look(looks))
            looked_at |= looks.keys()
            taken += len(found)
            for file in found:
                if file.path not in known:
                    moved = homeless[file.digest] > 0
                    homeless[file.digest] -= moved
                    self.tally.moved += moved
                    self.tally.new += not moved
                elif file.digest != known[file.path].digest:
                    self.tally.changed += 1
        return taken

    def _look(self, squares: Mapping[str, tuple[np.ndarray, ...]]) -> list[Look]:
        """What the models make of contents, given by their digests as the squares that the models take."""
        if not squares:
            return []
        pixels = [np.stack(one) for one in zip(*squares.values(), strict=True)]  # (N, S, S, 3) for each kind of square
        vectors = self._encoder.embed_photos(pixels[0])  # (N, D)
        crowds = crowding(vectors, self._encoder.known) if len(self._encoder.known) else np.zeros(len(vectors))
        captions = self._captioner.caption_photos(pixels[-1]) if self._captioner else [None] * len(vectors)
        looks = []
        for digest, vector, crowd, one, said in zip(squares, vectors, crowds, pixels[0], captions, strict=True):
            small = thumbnail(one)
            looks.append(Look(digest, vector, float(crowd), small, self._originals.group(digest, small), said))
        return looks

    @cached_property
    def _originals(self) -> Originals:
        return Originals(self._store.originals())

    def _caption_others(self) -> int:
        """Caption what was taken while the album had no captioner, and say how many that were."""
        if self._captioner is None:
            return 0
        without = {digest for digest, has in self._store.captioned().items() if not has}
        paths = {file.digest: id_ for id_, file in self._store.files().items() if file.digest in without}
        for part in self._opened(list(paths.values()), frozenset(), "captioning photos"):
            whole = [seen for seen in part if seen.file is not None]
            if whole:
                captions = self._captioner.caption_photos(np.stack([seen.squares[-1] for seen in whole]))
                self._store.caption({seen.file.digest: text for seen, text in zip(whole, captions, strict=True)})
        return len(paths)

    def _opened(self, ids: Sequence[str], looked_at: set[str] | frozenset[str], task: str) -> Iterator[list[_Seen]]:
        """Photos, opened ahead of the models on all cores, a chunk at a time."""
        if not ids:
            return
        keep_freed_memory()  # of a decoded photo, for the next one
        opened = ahead(lambda id_: self._open(id_, looked_at), ids, 2 * _CHUNK)
        yield from chunks(progress(opened, task, len(ids), "photo"), _CHUNK)

    def _open(self, id_: str, looked_at: set[str] | frozenset[str]) -> _Seen:
        """A photo, opened unless its content is one of those that were looked at."""
        models = [one for one in (self._encoder, self._captioner) if one is not None]
        squares = dict.fromkeys(one.square for one in models)  # models that want the same have the same function
        path = self.folder / id_
        try:
            status = path.stat()
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            file = File(id_, status.st_size, status.st_mtime_ns, digest)
            if digest in looked_at:
                return _Seen(id_, file)
            photo = load_photo(path, max(one.photo_size for one in models))
            return _Seen(id_, file, tuple(square(photo) for square in squares))
        except InputError as error:
            return _Seen(id_, problem=reason(str(error), str(path)))
        except FileNotFoundError:
            return _Seen(id_)
        except OSError as error:
            return _Seen(id_, problem=f"cannot be read ({error.strerror})")

    def _closed(self, id_: str) -> bool:
        """Whether a file is there and cannot be read now, so that what is known of it may still be true."""
        path = self.folder / id_
        try:
            if S_ISREG(path.stat().st_mode):  # to open a pipe would wait for whoever writes to it
                with path.open("rb") as file:
                    file.read(1)
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return False


def reason(message: str, name: str) -> str:
    """A sentence about one file, without the file's `name` and the advice."""
    return message.removeprefix(f"{name} ").split("; ")[0].removeprefix("is ")
