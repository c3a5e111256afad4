"""One run at a time: a lock on an outputs folder, which the operating system takes back from a process that died.

Two runs in one folder would do every stage twice and overwrite each other's files. The lock is one on an open file
(`flock`, on Windows `msvcrt.locking`), and not the file's existence, so no crash leaves it behind. The file says who
holds it. Kernels inherit it where the system can (`Lock.inherited`): as long as one of a killed run is at work, the
folder is not free. Where the file system knows no locks, that is said, and the run goes on without one,
unless the one that the file names is seen at work on this machine.
"""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from helpers.files import NO_LOCKS, InputError, say_unlocked

LOCK = "run.lock"
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # what a lock says that another process has
_WHEN = "%Y-%m-%d %H:%M:%S"
_PATIENCE = 20.0  # seconds that kernels of a killed run are given; they notice within about one

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[str]) -> None:
        """Lock `file`, or raise OSError at once; a byte far behind its end, since locked bytes cannot be read."""
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    def _give(file: IO[str]) -> None:
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(file: IO[str]) -> None:
        """Lock `file`, or raise OSError at once."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _give(file: IO[str]) -> None:
        """Nothing: kernels that are still ending hold the lock too, and it goes with the last of them."""


@contextmanager
def run_lock(outputs: Path) -> Iterator[tuple[int, ...]]:
    """Hold `outputs` for this process; yields the descriptors that its kernels are to inherit.

    Raises:
        InputError: another run holds it, on this machine or, where the folder is shared, on another; or the folder
            cannot be written to, or its disk fails.
    """
    path = outputs / LOCK
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{outputs} cannot be written to ({error.strerror}); choose another folder with --set outputs_dir=…"
        ) from error
    with file:
        locked = _wait_for(file, outputs)
        since = time.strftime(_WHEN)
        _write(file, json.dumps({"process": os.getpid(), "machine": socket.gethostname(), "since": since}))
        try:
            yield () if sys.platform == "win32" else (file.fileno(),)
        finally:
            _write(file, "")
            if locked:
                _give(file)


def _wait_for(file: IO[str], outputs: Path) -> bool:
    """Take the lock; wait only where its holder is dead and a kernel that it left is about to notice.

    Returns:
        Whether it is held; False where there are no locks.
    """
    end, said = time.monotonic() + _PATIENCE, False
    while True:
        try:
            _take(file)
            return True
        except OSError as error:
            holder = _holder(file)
            if error.errno in NO_LOCKS:  # and the file outlives a crash: only who is seen to be at work counts
                if not (holder and _seen(holder)):
                    say_unlocked(outputs, error)
                    return False
            elif error.errno not in _TAKEN:
                raise InputError(
                    f"{outputs} cannot be locked ({error.strerror}); see to that disk, or choose another folder with "
                    "--set outputs_dir=…"
                ) from None
        if time.monotonic() > end or (holder and _alive(holder)):
            who = "process {process} on {machine}, since {since}".format(**holder) if holder else "which just began"
            raise InputError(
                f"Another run is at work in {outputs} ({who}); wait for it, stop it, or begin a run of another "
                "name with --name."
            )
        if holder and not said:
            print(f"Process {holder['process']} died; waiting for the last of the processes that it had started.")
            said = True
        time.sleep(0.2)


def _holder(file: IO[str]) -> dict | None:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return holder if {"process", "machine", "since"} <= set(holder) else None
    except (ValueError, TypeError):  # being written at this moment
        return None


def _alive(holder: dict) -> bool:
    """Whether the process is at work; of another machine's, that cannot be known, and the lock says it is."""
    import psutil

    return holder["machine"] != socket.gethostname() or psutil.pid_exists(holder["process"])


def _seen(holder: dict) -> bool:
    """Whether the process is at work on this machine, and no later one that was given its number."""
    import psutil

    if holder["machine"] != socket.gethostname() or holder["process"] == os.getpid():
        return False
    try:
        began = psutil.Process(holder["process"]).create_time()
        return began <= time.mktime(time.strptime(holder["since"], _WHEN)) + 1
    except (psutil.NoSuchProcess, ValueError):
        return False


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
