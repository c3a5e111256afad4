"""Ctrl-C, `kill`, a closed terminal: each ends a run in order, with one sentence, and only once.

By default a terminated Python process goes without a word, and its kernels notice a second or so later.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WORDS = {"SIGINT": "Interrupted", "SIGTERM": "Told to end", "SIGHUP": "The terminal was closed"}
_WORDS["SIGBREAK"] = _WORDS["SIGINT"]  # Ctrl-Break, on Windows


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end; the exit status is what a shell expects of a process that the signal ended."""

    def __init__(self, number: int) -> None:
        super().__init__(_WORDS[signal.Signals(number).name])
        self.status = 128 + number


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` where the main thread is when one of these signals comes; what comes after it counts no more.

    A signal that is ignored already, as SIGHUP under `nohup`, stays so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for wanted in before:  # a second Ctrl-C must not interrupt the ending of the kernels
            signal.signal(wanted, signal.SIG_IGN)
        if signal.Signals(number).name == "SIGHUP":  # a terminal that is gone fails whoever writes to it
            for name in ("stdout", "stderr"):
                if getattr(sys, name).isatty():
                    setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - to the end
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in _WORDS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    if threading.current_thread() is not threading.main_thread():
        before = {}  # Python hands signals to the main thread alone
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
