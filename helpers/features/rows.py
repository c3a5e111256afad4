"""Rows of an array that stays on disk: grids of a large data set are larger than memory.

A memory-mapped file would do, but for one thing: each page that was read counts as memory of the process until the
system wants it back, so that a training over 8,000 photos looks as if it took 4 GB more than it does, and is ended by
a limit that it never needed. Here rows are read when they are asked for, into memory that is freed with them.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers.files import InputError, load_array
from helpers.training.checkpoints import fingerprint_run


class Rows:
    """The rows of a .npy file, read with `rows[3]`, `rows[2:5]` or `rows[[7, 1]]`, each time anew; an array then.

    Args:
        path: of the file.
        made_by: the notebook to run if it cannot be read.
        chosen: numbers of rows, to which this is a view; None: all.
        made_from: what the rows were computed from; see `told_by`.

    Raises:
        InputError: the file is missing, torn, or holds no plain numbers.
    """

    def __init__(self, path: Path, made_by: str, chosen: np.ndarray | None = None, made_from: str = "") -> None:
        array = load_array(path, made_by)
        if not array.flags.c_contiguous or not array.ndim:
            raise InputError(f"{path} is no array of rows; delete it and run {made_by} again.")
        self.path, self.made_by, self.made_from, self.dtype = path, made_by, made_from, array.dtype
        self.chosen = np.arange(len(array)) if chosen is None else chosen
        self.shape = (len(self.chosen), *array.shape[1:])
        self._start, self._width = array.offset, array[:1].nbytes
        self._file = path.open("rb", buffering=0)
        self._one_at_a_time = threading.Lock()  # the place in a file is one for all threads

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file itself."""
        return Rows, (self.path, self.made_by, self.chosen, self.made_from)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self._width

    def __len__(self) -> int:
        return len(self.chosen)

    def view(self, rows: Sequence[int] | np.ndarray) -> "Rows":
        """Some of the rows, in this order; none of them is read."""
        return Rows(self.path, self.made_by, self.chosen[rows], self.made_from)

    def __getitem__(self, key: Any) -> np.ndarray:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        wanted = self.chosen[first]
        found = self._read(np.atleast_1d(wanted))
        if np.ndim(wanted) == 0:
            return found[0][rest] if rest else found[0]
        return found[(slice(None), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        """The rows of the file with the numbers `wanted` (n,): (n, ...)."""
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        target = memoryview(found.reshape(-1).view(np.uint8))
        # Rows that lie side by side are read together.
        ends = [*(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
        start = 0
        with self._one_at_a_time:
            for end in ends if len(wanted) else ():
                self._file.seek(self._start + int(wanted[start]) * self._width)
                part = target[start * self._width : end * self._width]
                while part:
                    count = self._file.readinto(part)
                    if not count:
                        raise InputError(f"{self.path} has become shorter; delete it and run {self.made_by} again.")
                    part = part[count:]
                start = end
        return found


class Views:
    """Rows of several arrays or files side by side, (N, V, ...): photos as they are, mirrored and so on.

    They are read with `views[2:5]` or `views[[7, 1]]`, each time anew, in float32; one view of each of some rows with
    `views[[7, 1], [0, 2]]`, and no other.
    """

    def __init__(self, looks: Sequence[np.ndarray | Rows]) -> None:
        self.looks = list(looks)
        self.shape = (len(self.looks[0]), len(self.looks), *self.looks[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | Sequence[int] | np.ndarray | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        if not isinstance(key, tuple):
            return np.stack([look[key] for look in self.looks], axis=1).astype(np.float32, copy=False)
        rows, views = key
        found = np.empty((len(rows), *self.shape[2:]), np.float32)
        for number, look in enumerate(self.looks):
            asked = np.flatnonzero(views == number)
            found[asked] = look[rows[asked]]
        return found


def told_by(rows: np.ndarray | Rows | Views) -> list[Any]:
    """What tells these rows from others, in a form that `fingerprint_run` takes.

    In memory that is all of them. A file may hold more than can be read in a minute: there it is what it was made from,
    which rows are meant, and a hundred of them.
    """
    if isinstance(rows, Views):
        return [told_by(look) for look in rows.looks]
    if isinstance(rows, Rows):
        return [rows.made_from, fingerprint_run(chosen=rows.chosen, some=rows[:: len(rows) // 100 + 1])]
    return [fingerprint_run(rows=rows)]
