"""Files: atomic writes, fingerprints, JSON, and pickles of arrays and plain containers."""

import hashlib
import json
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers import pickles


class InputError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what, where, and what to do.

    Jupyter shows the sentence instead of a traceback, since the cause is not in the code.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"InputError: {self}"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on failure removed.

    A reader therefore sees the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: NumPy and Matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented UTF-8 JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str = "the stage that writes it") -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or does not parse; the message names `made_by` as the way to get it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run {made_by} first.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); delete it and run {made_by} again.") from None


def fingerprint_files(paths: Iterable[Path]) -> str:
    """Twelve hex digits of SHA-256 over the contents of `paths`, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def fingerprint_folder(folder: Path) -> str:
    """Twelve hex digits over names, sizes and times of all files below `folder`: fast, reads no content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def save_pickle(path: Path, content: Any) -> None:
    """Pickle `content` atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(content, file, protocol=5)


def load_pickle(path: Path) -> Any:
    """Read a pickle of NumPy arrays and plain containers.

    Raises:
        InputError: the file is missing, torn, or names anything but arrays and plain containers.
    """
    try:
        with path.open("rb") as file:
            return pickles.read(file)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it first.") from None
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        reason = error if isinstance(error, pickle.UnpicklingError) else "it is torn"
        raise InputError(f"{path} cannot be used as a feature file: {reason}; delete it and make it again.") from None
