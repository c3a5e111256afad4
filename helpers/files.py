"""Files: atomic writes, reading with one sentence for what is wrong, fingerprints, and what killed runs left behind."""

import argparse
import errno
import hashlib
import json
import math
import mmap
import os
import pickle
import re
import shutil
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.lib.format import open_memmap
from pydantic import TypeAdapter, ValidationError

from helpers import pickles

Kind = TypeVar("Kind")
_UNFINISHED = re.compile(r"\..+\.(?P<process>\d+)\.writing(\.[^.]+)?")  # names of temporary files and folders
_BLOCK = 2**20  # bytes
_LONGEST_NAME = 255  # bytes, on nearly all file systems
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # a full disk, a quota, a limit on a file
# What libraries say in errors of their own where memory ran out.
NO_MEMORY = re.compile(
    r"out of memory|([Cc]an't|[Cc]annot|[Uu]nable to) allocate|bad_alloc|not enough memory|failed to map segment"
)
_WAYS_TO_WRITE = {
    **dict.fromkeys((*NO_ROOM, None), "make room for it"),  # None: of a library in C++, see `native_write`
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "get the right to write there, or choose another place"),
    errno.ENAMETOOLONG: "give it a shorter name",
}
_SYSTEM = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx", "$recycle.bin", "#recycle"),
    "lost+found",
}
_BRIEF = 2e9  # nanoseconds within which a second change of a file may leave its time as it was

_OF_THE_MACHINE = {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
} | NO_ROOM

UNREAD = 141  # the exit status that a shell expects of a process whose output nobody reads any more
# Beside trained weights, see helpers/training/checkpoints.py: which run made them, and what one that was stopped left.
FINISHED, CHECKPOINT = "finished.json", "checkpoint.pt"


class InputError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what, where, and what to do.

    Jupyter shows the sentence instead of a traceback, since the cause is not in the code.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"InputError: {self}"]


# --- Writing ---


@contextmanager
def atomic_path(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on failure removed.

    A reader therefore sees the old file or the new one, never half of one. With `durable`, the new one is on the disk
    before this returns, and stays there if the power fails: for what takes long to make. It may be a folder, if there
    is none of that name yet.

    Raises:
        InputError: there is no room or no permission, or something else has the name.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            flush(temporary)
        temporary.replace(path)
        if durable and os.name == "posix":  # Windows can flush no folder, and keeps the order of its notes by itself
            flush(path.parent)
    except OSError as error:
        way = _WAYS_TO_WRITE.get(error.errno, "put that right")
        if there(path.is_dir):
            reason, way = "a folder has this name", "move it away"
        elif isinstance(error, FileExistsError | NotADirectoryError):
            reason, way = "a file has the name of its folder", "move that file away"
        else:
            reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be written ({reason}); {way} and run this again.") from error
    finally:
        with suppress(OSError):
            _remove(temporary)


def _temporary(path: Path) -> Path:
    """The path beside `path` that `atomic_path` gives; for a name that leaves no room for more, made of its digest."""
    # The suffix stays last: NumPy and Matplotlib choose the format by it.
    name, end = f".{path.stem}", f".{os.getpid()}.writing{path.suffix}"
    if len(os.fsencode(name + end)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}"
        if len(os.fsencode(name + end)) > _LONGEST_NAME:  # what follows the last stop is no format
            end = end.removesuffix(path.suffix)
    return path.with_name(name + end)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def native_write() -> Iterator[None]:
    """Around a library in C++ that writes a file: what the disk says is a RuntimeError there, and an OSError here."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"is the disk full? {first_line(error)}") from error


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_file_name(name: str) -> str:
    """The name of a model as a part of a file's name.

    >>> as_file_name("openai/clip-vit-base-patch16")
    'openai--clip-vit-base-patch16'
    """
    return re.sub(r"[/\\:]+", "--", name)


def written_files(folder: Path, pattern: str) -> list[Path]:
    """Files below `folder` whose names fit `pattern`, sorted, without those that `atomic_path` has not finished.

    Those have hidden names, see `below`.
    """
    return [path for path in below(folder) if path.match(pattern)]


def sweep_temporary(folder: Path, hours: float = 1.0) -> int:
    """Remove the temporary files and folders that killed runs left below `folder`; returns how many.

    Those have a name that `atomic_path` gives, their process is gone, and nobody has written to them, or to anything in
    them, for some `hours`: the folder may be shared with a machine whose processes are not seen from here.
    """
    import psutil  # here, since only the start of a run needs it

    removed = 0
    found = [Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)]
    for path in found:  # all of them before any goes away
        with suppress(OSError):  # it went away meanwhile, or belongs to somebody else
            name = _UNFINISHED.fullmatch(path.name)
            if name is None or psutil.pid_exists(int(name["process"])) or not (path.is_file() or path.is_dir()):
                continue
            if time.time() - max(one.lstat().st_mtime for one in (path, *path.rglob("*"))) > 3600 * hours:
                _remove(path)
                removed += 1
    return removed


def write_json(path: Path, content: Any, durable: bool = False) -> None:
    """Write `content` as indented UTF-8 JSON, atomically; `durable` as for `atomic_path`.

    JSON knows neither NaN, such as the ends of a single photo's interval, nor infinity: they are null.
    """
    with atomic_path(path, durable) as temporary:
        text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(part) for part in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def save_pickle(path: Path, content: Any) -> None:
    """Pickle `content` atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(content, file, protocol=5)


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def beginning(text: str, most: int = 200) -> str:
    """`text` for a sentence about it: at most so many characters, with an ellipsis where it goes on."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def first_line(error: object) -> str:
    """The first line of what an exception says, for a sentence about it; of one that says nothing, its class.

    Without the stop at its end; a long one ends after a whole word, outside of quotation marks.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")
    if len(line) <= 300:
        return line
    line = line[:300].rsplit(" ", 1)[0]
    for mark in ("'", '"', "`"):
        if line.count(mark) % 2:
            line = line[: line.rindex(mark)]
    return f"{line.rstrip()} …"


def check_space(folder: Path, size: int, what: str, setting: str = "outputs_dir") -> None:
    """Say how much of the disk something will take, and refuse to begin what will not fit.

    Args:
        folder: where it will be.
        size: in bytes.
        what: it is called, in the plural.
        setting: the one that says where `folder` is.

    Raises:
        InputError: `what`, of `size` bytes, is larger than what is free where `folder` is.
    """
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise InputError(
            f"{what.capitalize()} need {_size(size)} in {folder}, and {_size(free)} are free there; "
            f"make room, or choose another place with {setting}."
        )
    if size:
        print(f"{what.capitalize()} take {_size(size)} of the disk; {_size(free)} are free.")


def reserved_memmap(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped .npy file of zeros whose blocks on the disk are all taken now.

    A file made by `open_memmap` alone is a promise: it takes its blocks when they are written to, and a disk that is
    full by then ends the whole process with SIGBUS, without a word.

    Raises:
        InputError: the disk has no room for it; the file is gone again.
    """
    array = open_memmap(path, "w+", dtype, shape)
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS, Windows: written out
                file.seek(array.offset)
                for start in range(array.offset, size, 1 << 24):
                    file.write(bytes(min(1 << 24, size - start)))
    except OSError as error:
        del array  # Windows removes no file that is mapped
        path.unlink()
        raise InputError(
            f"{path} needs {_size(size)} and could not be written ({error.strerror}); make room, or choose "
            "another place with outputs_dir."
        ) from error
    return array


def write_out(array: np.memmap) -> None:
    """Write what has changed to the disk, and give its pages back where the system can be asked to take them.

    Pages that were written to count as memory of the process, like those that were read: see `features/rows.py`.
    """
    array.flush()
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        array.base.madvise(mmap.MADV_DONTNEED)


# --- Reading ---


def exit_status(do: Callable[[], object], again: str = "goes on from here") -> int:
    """What a command whose work is `do` ends with: 0, 2 (wrong input), 130 (interrupted) or 141 (nobody reads it).

    `again` is what the same command does after an interruption, for the sentence about it.
    """
    # A name may hold what the output's encoding cannot: bytes that are no text, or letters of another alphabet.
    if sys.stdout is not None and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        do()
        print(end="", flush=True)  # here, where a pipe that is closed is noticed; without any output, this is nothing
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not nobody_reads():
            raise
        return UNREAD
    except KeyboardInterrupt:
        print(f"Interrupted; the same command {again}.", file=sys.stderr)
        return 130
    return 0


def nobody_reads() -> bool:
    """Whether the other end of what this process prints is closed, as by `head`; what it still holds is then dropped.

    Python would say so once more at its end, with a traceback.
    """
    try:
        print(flush=True)  # of what was refused, nothing is left to try with where output is not buffered
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


class Options(argparse.ArgumentParser):
    """A command's options, none of which may be blank, as the value of a shell's variable that is not set is.

    `Path("")` would be the folder that one stands in, and a blank name of a model the usual one. In paths, `~` is the
    user's home: `make album PHOTOS=~/Pictures` brings it as it stands. No option may be cut short: a message that
    repeats what was typed knows them by their names.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.register("type", None, _not_blank)
        self.register("type", Path, lambda text: at_home(_not_blank(text)))


def _not_blank(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is blank (a variable that is not set?); give it a value")
    return text


LOCK = "lock"  # the file of `only_one`
# What a file system says that knows no locks, as some of Lustre, NFS and FUSE do.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
if sys.platform == "win32":
    NO_LOCKS.add(errno.EINVAL)  # as Windows' C library puts it


def say_unlocked(folder: Path, error: OSError) -> None:
    """Say that work goes on without a lock, where none is to be had."""
    print(f"{folder} cannot be locked ({error.strerror}); see that nothing else is at work there meanwhile.")


@contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes from changing `folder` meanwhile; one that is killed lets go of it.

    Where the file system knows no locks, that is said, and nobody is kept from anything.

    Raises:
        InputError: another process has it, of which `what` says what it does; or nothing can be written there.
    """
    lock = FileLock(folder / LOCK, fallback_to_soft=False)  # a file that counts as a lock would outlive a crash
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another process {what}; try again when it is done.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise InputError(
                f"Nothing can be written to {folder} ({error.strerror}); get the right to, or name another folder."
            ) from None
        say_unlocked(folder, error)
    try:
        yield
    finally:
        lock.release()


def at_home(path: str | Path) -> Path:
    """A path in which `~` is the user's home, as in a shell: what no user is called stays as it is."""
    if sys.platform == "win32" and re.match(r"~[^/\\]", str(path)):
        return Path(path)  # where Windows would take anybody for a user
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails for ~nobody


def there(check: Callable[[], bool]) -> bool:
    """`check()`, such as `path.is_file`; False for a name that no file can have, since it is too long."""
    try:
        return check()
    except OSError:
        return False


@contextmanager
def reading(path: Path, made_by: str) -> Iterator[None]:
    """Turn what the file system has to say about `path` into an `InputError` that names `made_by` as the way to it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist; run {made_by} first.") from None
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else error.strerror or str(error)
        raise InputError(f"{path} cannot be read ({reason}); put that right, or run {made_by} again.") from None


def read_json(path: Path, made_by: str = "the stage that writes it") -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or does not parse; the message names `made_by` as the way to get it.
    """
    try:
        with reading(path, made_by):
            return json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); delete it and run {made_by} again.") from None


def read_as(kind: type[Kind], path: Path, made_by: str) -> Kind:
    """JSON as `kind`, a dataclass or a type of containers, each part of it checked for its type and its bounds.

    Raises:
        InputError: the file is missing, does not parse, or something in it is of another type or out of bounds.
    """
    with reading(path, made_by):
        content = path.read_bytes()
    try:
        return _adapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(f"{path} cannot be used ({wrong}); delete it and run {made_by} again.") from None


def of_the_machine(error: Exception, what: Path | str) -> InputError | None:
    """The sentence for an error in loading `what`, where it is none of the file's; None: it may well be the file's.

    Memory ran out, or a disk or a right to read failed. PyTorch says so in its own errors, of which not all are kinds
    of their own.
    """
    code = error.errno if isinstance(error, OSError) else None
    said = isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))
    if isinstance(error, MemoryError) or code == errno.ENOMEM or said:
        way = "free some memory"
    elif code in (errno.EACCES, errno.EPERM):
        way = "get the right to read it"
    elif code in _OF_THE_MACHINE:
        way = "put that right"
    else:
        return None
    reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
    return InputError(f"{what} could not be loaded ({reason}) and is left as it is; {way} and run this again.")


def require(folder: Path, files: Mapping[str, str]) -> None:
    """See that all files that a notebook begins with are there, before it works for an hour and then misses one.

    Args:
        folder: of the run.
        files: path in `folder` -> the notebook that writes it.

    Raises:
        InputError: some are missing; the message names the notebooks to run, in order.
    """
    missing = {name: notebook for name, notebook in files.items() if not (folder / name).exists()}
    if missing:
        notebooks = " and ".join(sorted(set(missing.values())))
        raise InputError(f"{folder} has no {' and no '.join(missing)}; run {notebooks} first, then this notebook.")


@cache
def _adapter(kind: type[Kind]) -> TypeAdapter[Kind]:
    return TypeAdapter(kind)


def load_array(path: Path, made_by: str, mode: str = "r") -> np.ndarray:
    """A .npy file, memory-mapped; with `mode` "r+", to be written to.

    Raises:
        InputError: the file is missing, torn, or holds no plain numbers.
    """
    try:
        with reading(path, made_by):
            return open_memmap(path, mode=mode)
    except InputError:
        raise
    except Exception as error:  # a damaged header is parsed as Python, and can stumble in any way
        raise InputError(
            f"{path} is no readable array ({first_line(error)}); delete it and run {made_by} again."
        ) from None


def load_pickle(path: Path) -> Any:
    """Read a pickle of NumPy arrays and plain containers.

    Raises:
        InputError: the file is missing, torn, or names anything but arrays and plain containers.
    """
    try:
        with reading(path, "the stage that writes it"), path.open("rb") as file:
            return pickles.read(file)
    except InputError:
        raise
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        reason = error if isinstance(error, pickle.UnpicklingError) else "it is torn"
        raise InputError(f"{path} cannot be used as a feature file: {reason}; delete it and make it again.") from None


# --- Folders ---


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system (`.DS_Store`, `._x.jpg`, `Thumbs.db`, `@eaDir`)."""
    return name.startswith(".") or name.lower() in _SYSTEM


def walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Every file below `folder` that is not hidden, and the folders that cannot be opened with the reason.

    Links are followed, to each folder once.
    """
    known: set[tuple[int, int]] = set()
    problems: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=problems.append, followlinks=True):
        try:
            status = Path(place).stat()
        except FileNotFoundError:  # it was taken away meanwhile
            continue
        if (status.st_dev, status.st_ino) in known:  # a link led back here
            folders.clear()
            continue
        known.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from ((Path(place, name), None) for name in files if not is_hidden(name))
    yield from ((Path(error.filename), error.strerror) for error in problems)


# --- Fingerprints ---

_digests: dict[tuple, bytes] = {}


def digest(path: Path, blocks: int | None = None) -> bytes:
    """SHA-256 of a file, computed once and again only when the file has changed.

    With `blocks`, of its size and that many mebibytes of it, spread evenly from the first to the last: for files
    that take long to read. A file with no more than that is read whole.
    """
    status = path.stat()
    size = status.st_size
    if blocks and size <= blocks * _BLOCK:
        blocks = None
    known = (path, blocks, size, status.st_mtime_ns, status.st_ino)
    if known in _digests:
        return _digests[known]
    with path.open("rb") as file:
        if blocks is None:
            together = hashlib.file_digest(file, "sha256")
        else:
            together = hashlib.sha256(str(size).encode())
            for number in range(blocks):
                file.seek(number * (size - _BLOCK) // (blocks - 1))
                together.update(file.read(_BLOCK))
    if time.time_ns() - status.st_mtime_ns > _BRIEF:  # else it may change again without a sign of it
        _digests[known] = together.digest()
    return together.digest()


def copies(paths: Iterable[Path]) -> dict[Path, Path]:
    """The files that have the same bytes as an earlier one of `paths`, each with the first of these."""

    def alike(some: Iterable[Path], key: Callable[[Path], object]) -> list[list[Path]]:
        groups: dict[object, list[Path]] = defaultdict(list)
        for path in some:
            with suppress(OSError):  # what cannot be read is no copy of anything
                groups[key(path)].append(path)
        return [group for group in groups.values() if len(group) > 1]

    groups = alike(paths, lambda path: path.stat().st_size)
    for key in (_tail, digest):
        groups = [group for some in groups for group in alike(some, key)]
    return {copy: first for first, *others in groups for copy in others}


def _tail(path: Path) -> bytes:
    """The last bytes of a file, in which photos of the same size differ: reading them whole would take long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 512))
        return file.read()


def fingerprint_files(paths: Iterable[Path]) -> str:
    """Twelve hex digits of SHA-256 over the contents of `paths`, in the order given."""
    together = hashlib.sha256()
    for path in paths:
        together.update(digest(path))
    return together.hexdigest()[:12]


def fingerprint_folder(folder: Path) -> str:
    """Twelve hex digits over names and contents of all files below `folder`: the same for a copy of it.

    Hidden files are passed over: they are the system's, or an album's.
    """
    files = _named_below(folder)
    together = hashlib.sha256()

    def content_of(path: Path) -> bytes:
        try:
            return digest(path)
        except OSError:  # it went away meanwhile, or a disk does not give it
            return b""

    with ThreadPoolExecutor() as pool:
        for (name, _), content in zip(files, pool.map(content_of, [path for _, path in files]), strict=True):
            together.update(name + b"\n" + content)
    return together.hexdigest()[:12]


def fingerprint(path: Path) -> str:
    """Of a folder or a file, by its contents."""
    return fingerprint_folder(path) if path.is_dir() else fingerprint_files([path])


def stamp(path: Path) -> str:
    """Twelve hex digits over the sizes and times of a file, or of all below a folder: fast, reads no content.

    Where it is as it was, nothing has changed. Where it is not, nothing is known: a copy has other times.
    """
    together = hashlib.sha256()
    for name, file in _named_below(path) if path.is_dir() else [(b".", path)]:
        with suppress(OSError):  # it went away meanwhile
            status = file.stat()
            together.update(name + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return together.hexdigest()[:12]


def sighted(path: Path, whole: bool = True) -> str:
    """`fingerprint` and `stamp` of what a stage reads, for `inputs` in its metrics.json.

    Not `whole`, the stamp alone: of somebody's photos and films, which take long to read. A copy has changed then.
    """
    times = stamp(path)  # first: what changes while it is read is noticed
    return f"{fingerprint(path) if whole else ''} {times}"


def below(folder: Path) -> list[Path]:
    """The files below `folder`, in order, without hidden ones.

    What another process takes away meanwhile is passed over; `rglob` would raise FileNotFoundError.
    """
    return [path for _, path in _named_below(folder)]


def _named_below(folder: Path) -> list[tuple[bytes, Path]]:
    """The same, each with its name from the folder on: the same, in the same order, on every system.

    What cannot be read is passed over, as whoever reads the folder does: links to nothing, pipes, files of others.
    """
    found = []
    for path, _ in walk(folder):
        if there(path.is_file) and os.access(path, os.R_OK):
            name = path.relative_to(folder).as_posix()
            # Composed, as for whoever looks for a photo: a copy from a Mac has the names decomposed.
            found.append((unicodedata.normalize("NFC", name).split("/"), name, path))
    # The names that a disk gives need not be writable.
    return [("/".join(parts).encode(errors="backslashreplace"), path) for parts, _, path in sorted(found)]
