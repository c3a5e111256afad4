"""What an album keeps: one SQLite file of vectors, captions and corrections, by what the photos hold.

    files         every photo's path, with the size and time by which a change is noticed, and the digest of its content
    looks         what was seen in a content: vector, how crowded it is around it, thumbnail, caption, and the content
                  that it is a copy of, which may be itself
    written       files that it wrote captions into, and the digest of what it wrote
    corrections   captions by a person's hand, also by content, with its thumbnail; nothing but their author changes or
                  removes them
    gone          the path and the digest of files with a correction that went away, or cannot be used: half of one may
                  be written yet, or it comes back

As content is the key, a photo that was moved or copied keeps all that is known of it. One that was changed a little is
another content, and keeps what a person said: by its name and its thumbnail it is known again. SQLite writes whole
transactions or nothing, so that a process that ends at any moment leaves an album that can be gone on with.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from helpers.files import LOCK, InputError, fingerprint_files, only_one, there
from helpers.search.copies import SIDE, Originals

DATABASE = "album.db"
CAPTION_FILES = (".csv", ".jsonl")  # how the names of files of captions end
_VERSION = 4  # of what is below
_NO_THUMBNAILS = 3  # with the corrections
_ALIKE_ALONE = 2  # and copies did not need to be alike in their details; looks of other versions are made again
_ELSEWHERE = "name another folder with --album (of the search page: --home; of notebook 07: outputs_dir)"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, time INTEGER, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS contents ON files (digest);
CREATE TABLE IF NOT EXISTS looks (
    digest TEXT PRIMARY KEY, vector BLOB NOT NULL, crowding REAL NOT NULL, thumbnail BLOB NOT NULL,
    copy_of TEXT NOT NULL, caption TEXT
);
CREATE TABLE IF NOT EXISTS corrections (digest TEXT PRIMARY KEY, caption TEXT NOT NULL, thumbnail BLOB);
CREATE TABLE IF NOT EXISTS written (path TEXT PRIMARY KEY, digest TEXT NOT NULL);
"""
# Made by who writes: an album of an earlier version on a disk that cannot be written to is read all the same.
_GONE = "CREATE TABLE IF NOT EXISTS gone (path TEXT PRIMARY KEY, digest TEXT NOT NULL)"


@dataclass(frozen=True)
class File:
    """One photo's file, as it was when it was looked at.

    Attributes:
        path: below the folder of the album, with "/" on every system.
        size: bytes.
        time: of its last change, in nanoseconds.
        digest: SHA-256 of its content.
    """

    path: str
    size: int
    time: int
    digest: str


@dataclass(frozen=True)
class Look:
    """What was seen in a content."""

    digest: str
    vector: np.ndarray  # float32 (D,)
    crowding: float
    thumbnail: np.ndarray  # uint8 (256,), see `copies.py`
    copy_of: str  # the digest of the first content of its group of copies
    caption: str | None = None


class AlbumStore:
    """The album's file in `home`, which is made if need be.

    Raises:
        InputError: nothing can be written there, or the file is damaged.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        try:
            home.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version != _VERSION:
                    _renew(database)
                database.executescript(_SCHEMA)
        except OSError as error:
            raise InputError(f"The album cannot be kept in {home} ({error.strerror}); {_ELSEWHERE}.") from None

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return _opened(self.home)

    def only_one(self) -> AbstractContextManager[None]:
        """Keep other processes from changing the album meanwhile.

        Raises:
            InputError: another one has it.
        """
        return only_one(self.home, f"brings the album in {self.home} up to date")

    def keeps(self, path: Path) -> bool:
        """Whether the file at `path` is the album's own: SQLite's journals are, too, and captions as it wrote them."""
        if path.suffix.lower() in CAPTION_FILES and there(path.is_file) and self.wrote(path):
            return True
        return path.parent == self.home and (path.name == LOCK or path.name.startswith(DATABASE))

    # --- Settings: what the album was made with ---

    @classmethod
    def made_with(cls, home: Path) -> dict[str, str]:
        """The settings of the album in `home`; none where there is no album."""
        return cls(home).settings if there((home / DATABASE).exists) else {}

    @property
    def settings(self) -> dict[str, str]:
        with self._open() as database:
            return dict(database.execute("SELECT name, value FROM settings"))

    def set(self, settings: dict[str, str], anew: bool = False) -> None:
        """Keep `settings` from now on; `anew`: and forget what models made of the photos, all at once or nothing.

        Corrections stay, and so does which file had which content, as they may be of a photo that has changed since.
        """
        with self._open() as database:
            for table in ("looks", "settings") if anew else ():
                database.execute(f"DELETE FROM {table}")
            database.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", settings.items())

    # --- Photos ---

    def files(self) -> dict[str, File]:
        """All files by path; of an album that is made anew, those that nobody has looked at again are among them."""
        with self._open() as database:
            return {row[0]: File(*row) for row in database.execute("SELECT path, size, time, digest FROM files")}

    def captioned(self) -> dict[str, bool]:
        """The digest of every content that was looked at, and whether it has a model's caption."""
        with self._open() as database:
            return {digest: bool(has) for digest, has in database.execute("SELECT digest, caption NOTNULL FROM looks")}

    def add(self, files: Sequence[File], looks: Sequence[Look] = ()) -> None:
        """Keep `files` and `looks`, and with them a person's captions of photos that have changed only a little.

        All of it or, if the process ends meanwhile, nothing.
        """
        with self._open() as database:
            database.execute(_GONE)
            # Of contents that lay in a file already, none is what another file held, changed a little.
            known = "(SELECT path, digest FROM files UNION ALL SELECT path, digest FROM gone)"
            find = f"SELECT * FROM {known} WHERE path = ? AND NOT EXISTS (SELECT * FROM files WHERE digest = ?)"
            before = dict(row for file in files for row in database.execute(find, (file.path, file.digest)))
            database.executemany("DELETE FROM gone WHERE path = ?", ((file.path,) for file in files))
            database.executemany(
                "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (one.digest, one.vector.tobytes(), one.crowding, one.thumbnail.tobytes(), one.copy_of, one.caption)
                    for one in looks
                ),
            )
            database.executemany(  # which another model may have seen at another size
                "UPDATE corrections SET thumbnail = ? WHERE digest = ?",
                ((one.thumbnail.tobytes(), one.digest) for one in looks),
            )
            database.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                ((file.path, file.size, file.time, file.digest) for file in files),
            )
            _keep_corrections(database, files, before)

    def caption(self, captions: dict[str, str]) -> None:
        """Keep a model's captions, by content."""
        with self._open() as database:
            rows = ((caption, digest) for digest, caption in captions.items())
            database.executemany("UPDATE looks SET caption = ? WHERE digest = ?", rows)

    def originals(self) -> dict[str, np.ndarray]:
        """A thumbnail (256,) of every group of copies, by the group's name; the first photo itself may be gone."""
        with self._open() as database:
            rows = database.execute("SELECT copy_of, thumbnail, min(digest) FROM looks GROUP BY copy_of")
            return {group: np.frombuffer(thumbnail, np.uint8) for group, thumbnail, _ in rows}

    def remove(self, paths: Iterable[str]) -> None:
        """Forget the files at `paths`, and what was made of contents that no file has any more."""
        paths = [(path,) for path in paths]
        lost = "SELECT path, digest FROM files JOIN corrections USING (digest) WHERE path = ?"
        with self._open() as database:
            database.execute(_GONE)
            database.executemany(f"INSERT OR REPLACE INTO gone {lost}", paths)
            database.executemany("DELETE FROM files WHERE path = ?", paths)
            database.execute("DELETE FROM looks WHERE digest NOT IN (SELECT digest FROM files)")

    def looks(self) -> Iterator[tuple[str, Look, str | None]]:
        """(path, look, correction) of every file, in the order of the paths."""
        with self._open() as database:
            rows = database.execute(
                "SELECT path, digest, vector, crowding, looks.thumbnail, copy_of, looks.caption, corrections.caption "
                "FROM files JOIN looks USING (digest) LEFT JOIN corrections USING (digest) ORDER BY path"
            )
            for path, digest, vector, crowding, thumbnail, copy_of, caption, correction in rows:
                arrays = np.frombuffer(vector, np.float32), np.frombuffer(thumbnail, np.uint8)
                yield path, Look(digest, arrays[0], crowding, arrays[1], copy_of, caption), correction

    # --- Corrections ---

    def correct(self, path: str, digest: str, thumbnail: np.ndarray, caption: str) -> None:
        """Keep a person's caption of a content, and of what the file at `path` holds by now, if it shows the same."""
        with self._open() as database:
            contents = {digest: thumbnail.tobytes()}
            # What these words replace was perhaps handed on, from before a note was written into the file.
            database.execute(
                "UPDATE corrections SET caption = ? WHERE thumbnail = ? AND caption = "
                "(SELECT caption FROM corrections WHERE digest = ?)",
                (caption, contents[digest], digest),
            )
            now = "SELECT digest, thumbnail FROM files JOIN looks USING (digest) WHERE path = ?"
            for other, small in database.execute(now, (path,)).fetchall():
                if unchanged(contents[digest], small):
                    contents[other] = small
            database.executemany(
                "INSERT OR REPLACE INTO corrections VALUES (?, ?, ?)",
                ((one, caption, small) for one, small in contents.items()),
            )

    def take_corrections(self, home: Path) -> int:
        """Keep the corrections of the album in `home` of contents that are here and have none; how many there were.

        Nothing is changed there.
        """
        if home.resolve() == self.home or not there((home / DATABASE).is_file):
            return 0
        with _opened(home) as source:
            begun = source.execute("SELECT * FROM sqlite_master WHERE name = 'corrections'").fetchone()
            corrections = source.execute("SELECT digest, caption FROM corrections").fetchall() if begun else []
        with self._open() as database:
            return database.executemany(
                "INSERT OR IGNORE INTO corrections SELECT digest, ?, thumbnail FROM looks WHERE digest = ?",
                ((caption, digest) for digest, caption in corrections),
            ).rowcount

    # --- Files of captions ---

    def wrote(self, path: Path) -> bool:
        """Whether the file at `path` is as this album wrote it, there or before it was moved, and not changed since."""
        known = self.written().values()
        try:
            return bool(known) and fingerprint_files([path]) in known  # another's may be large: not read for nothing
        except OSError:  # it may not be read: another's
            return False

    def written(self) -> dict[str, str]:
        """The files that this album wrote captions into, and the digest of what it wrote."""
        with self._open() as database:
            return dict(database.execute("SELECT path, digest FROM written"))

    def note_written(self, path: Path) -> None:
        """Remember the file at `path` as one that this album wrote."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO written VALUES (?, ?)", (str(path.resolve()), fingerprint_files([path]))
            )


@contextmanager
def _opened(home: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one transaction; a connection each time, since threads cannot share one."""
    try:
        database = sqlite3.connect(home / DATABASE, timeout=30)
        try:
            with database:
                yield database
        finally:
            database.close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise InputError(f"Another process is writing to the album in {home}; try again.") from None
        raise InputError(f"The album cannot be kept in {home} ({error}); {_ELSEWHERE}.") from None
    except sqlite3.DatabaseError as error:
        raise InputError(f"{home / DATABASE} is damaged ({error}); move it away, and the album is made anew.") from None


def _keep_corrections(database: sqlite3.Connection, files: Sequence[File], before: Mapping[str, str]) -> None:
    """Give `files` that were added, and by a person had no captions, those of the photos that they were.

    Each is looked for, under whatever name, among all that a person has captioned; there, it has to look the same. And
    it is compared with the content that its path had `before`, which may have been turned, or changed a little.
    """
    rows = database.execute(
        "SELECT digest, caption, thumbnail FROM corrections WHERE thumbnail NOTNULL ORDER BY rowid"
    ).fetchall()
    captions = {digest: caption for digest, caption, _ in rows}
    thumbnails = {digest: small for digest, _, small in rows}
    same = {small: digest for digest, _, small in rows}  # the latest of equals
    for file in files if rows else ():
        for (small,) in database.execute("SELECT thumbnail FROM looks WHERE digest = ?", (file.digest,)).fetchall():
            old, twin = before.get(file.path), same.get(small)
            if twin is not None and _is_copy(small, small) and thumbnails.get(old) != small:
                old = twin
            if old in captions and any(unchanged(thumbnails[old], turned) for turned in _turns(small)):
                kept = file.digest, captions[old], small
                database.execute("INSERT OR IGNORE INTO corrections VALUES (?, ?, ?)", kept)


def unchanged(first: bytes, second: bytes) -> bool:
    """Whether what one file held, as a thumbnail, is what it holds now, if changed a little.

    Pages whose details are too faint to tell are copies of nothing, and the same where only a note has changed.
    """
    return first == second or _is_copy(first, second)


def _turns(small: bytes) -> Iterator[bytes]:
    """A thumbnail, as it is and turned by quarters."""
    pixels = np.frombuffer(small, np.uint8).reshape(SIDE, SIDE)
    return (np.rot90(pixels, quarters).tobytes() for quarters in range(4))


def _is_copy(first: bytes, second: bytes) -> bool:
    """Whether two thumbnails are of one photo; see `copies.py`. One that is too faint to tell is no copy of itself."""
    first, second = (np.frombuffer(small, np.uint8) for small in (first, second))
    return Originals({"first": first}).group("second", second) == "first"


def _renew(database: sqlite3.Connection) -> None:
    """Make of an album of another version one of this, all of it or nothing; only one process does."""
    database.execute("BEGIN IMMEDIATE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    columns = [name for _, name, *_ in database.execute("PRAGMA table_info(corrections)")]
    if columns and "thumbnail" not in columns:
        database.execute("ALTER TABLE corrections ADD COLUMN thumbnail BLOB")
    if columns and version in (_ALIKE_ALONE, _NO_THUMBNAILS):
        known = "SELECT thumbnail FROM looks WHERE looks.digest = corrections.digest"
        database.execute(f"UPDATE corrections SET thumbnail = ({known})")
        if version == _ALIKE_ALONE:
            _part_groups(database)
    else:
        database.execute("DROP TABLE IF EXISTS looks")
    database.execute(f"PRAGMA user_version = {_VERSION}")


def _part_groups(database: sqlite3.Connection) -> None:
    """Make groups of their own of what is no copy of the first in its group."""
    rows = database.execute(
        "SELECT copy_of, digest, thumbnail FROM looks WHERE copy_of IN "
        "(SELECT copy_of FROM looks GROUP BY copy_of HAVING count(*) > 1) ORDER BY copy_of, digest != copy_of, rowid"
    ).fetchall()
    for _, group in groupby(rows, itemgetter(0)):
        originals = Originals({})
        parted = [(originals.group(digest, np.frombuffer(small, np.uint8)), digest) for _, digest, small in group]
        database.executemany("UPDATE looks SET copy_of = ? WHERE digest = ?", parted)
