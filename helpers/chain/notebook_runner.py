"""One notebook, run headless: a progress line, peak memory, and a failure told in a sentence.

Papermill executes a copy of the notebook with its parameters put in, in a kernel of its own: a process that starts
fresh, gives all its memory back at the end, and can abort without taking the chain with it.
"""

import errno
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from helpers.chain.report import duration, gigabytes
from helpers.environment import project_root, resident_memory
from helpers.files import NO_MEMORY, NO_ROOM, read_json

FEWER = "run no stages side by side (--jobs 1)"


@dataclass
class Progress:
    """One stage under way: what the progress line shows, and what is measured on the way.

    On a terminal the stages under way share the last line.
    """

    label: str
    why: str
    cells: int
    cell: int = 0
    peak: int = 0  # bytes
    last_words: str = ""  # what the kernel's process wrote past Jupyter, such as why a library aborted
    started: float = field(default_factory=time.monotonic)
    process: subprocess.Popen | None = None  # the kernel
    stopped: bool = False

    _line: ClassVar[dict[int, str]] = {}  # what each stage under way shows on the last line
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def show(self, status: str) -> None:
        """Redraw the last line of a terminal; elsewhere do nothing."""
        if sys.stdout.isatty() and not self.stopped:
            with self._lock:
                self._line[id(self)] = f"{self.label}  {status}"
                self._draw("   ".join(self._line.values()), end="")

    def end(self, status: str) -> None:
        """Print how the stage ended; on a terminal over what it showed."""
        with self._lock:
            self._line.pop(id(self), None)
            if sys.stdout.isatty():
                self._draw(f"{self.label}  {status}", end="\n")
            else:
                print(f"{self.label}  {status}", flush=True)

    def stop(self) -> None:
        """End the kernel at once, now or as soon as it has begun."""
        self.stopped = True
        if self.process is not None and self.process.poll() is None:
            if hasattr(os, "killpg"):  # with the processes it started: a kernel leads a group of its own
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    @staticmethod
    def _draw(text: str, end: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:{width}}", end=end, flush=True)


@contextmanager
def watch(progress: Progress) -> Iterator[None]:
    """Twice a second: redraw the line, and sample the resident memory of the kernel and its children."""
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            if progress.process is not None:
                progress.peak = max(progress.peak, resident_memory(progress.process.pid))
            progress.show(f"running  {duration(progress.seconds)}  cell {progress.cell}/{progress.cells}")

    if not sys.stdout.isatty():
        print(f"{progress.label}  running  ({progress.why})", flush=True)
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def execute(
    notebook: Path, copy: Path, parameters: dict[str, Any], progress: Progress, descriptors: tuple[int, ...] = ()
) -> None:
    """Execute `notebook` with papermill in a kernel of this very interpreter, from the project root.

    The kernel inherits the open files `descriptors`.
    """
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from papermill.engines import NBClientEngine, papermill_engines

    inherit = {"pass_fds": descriptors} if descriptors else {}

    class ThisPython(AsyncKernelManager):
        # "python3" is looked up in the user's kernel folders first, where it may be another interpreter. With no
        # folder to look in, what remains is the kernel that ipykernel itself describes: sys.executable.
        def __init__(self, **options: Any) -> None:
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)

        # Jupyter carries the output to the executed copy; its echo here would tear the progress line.
        async def start_kernel(self, **options: Any) -> None:
            await super().start_kernel(stdout=echo, stderr=echo, **inherit, **options)
            progress.process = self.provisioner.process
            if progress.stopped:
                progress.stop()

    # Papermill writes the whole copy twice a cell, and pictures make it large. Every two seconds is enough to see how
    # far it is; however the notebook ends, it is written once more.
    class SavesNowAndThen(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            def save(**_: Any) -> None:
                if (nb_man.now() - nb_man.last_save_time).total_seconds() > 2:
                    write()

            write, nb_man.save = nb_man.save, save
            try:
                return super().execute_managed_notebook(nb_man, kernel_name, **options)
            finally:
                nb_man.save = write

    papermill_engines.register("now and then", SavesNowAndThen)

    def count(**_: Any) -> None:
        progress.cell += 1

    if sys.platform == "darwin":
        # The macOS wheels of PyTorch and FAISS each bring an OpenMP runtime, and the second to load would abort.
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would log is reported below, in our words
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as echo, watch(progress):
        try:
            papermill.execute_notebook(
                notebook,
                copy,
                parameters=parameters,
                engine_name="now and then",
                kernel_name="python3",
                language="python",
                cwd=project_root(),
                progress_bar=False,
                log_output=False,
                start_timeout=600,
                # The wait for the last output of a cell whose work is done; by default four seconds, which a busy
                # machine exceeds. A kernel that died is noticed within a second all the same.
                iopub_timeout=24 * 3600,
                kernel_manager_class=ThisPython,
                on_cell_execute=count,
                extra_arguments=["--log-level=ERROR"],
            )
        finally:
            echo.seek(0)
            progress.last_words = "\n".join(echo.read().decode(errors="replace").splitlines()[-3:])


def how_it_ended(status: int | None, used: str, free: str) -> str:
    """What a dead process's exit status tells: minus the number of the signal that ended it, where it was one."""
    names = {-number: number.name for number in signal.Signals}
    name = names.get(status, f"status {status}")
    words = {
        "SIGBUS": f"lost its hold on a memory-mapped file, as it does when the disk is full ({free} are free there)",
        "SIGKILL": f"was killed, as the system does when memory runs out (it had used {used}); {FEWER}",
        "SIGSEGV": f"crashed in a compiled library (it had used {used} of memory)",
        "SIGILL": "met an instruction that this processor does not have",
        "SIGABRT": f"aborted in a compiled library, as it does when memory runs out (it had used {used})",
        "SIGTERM": "was told to end by someone",
        "SIGINT": "was interrupted by someone",
        "SIGHUP": "was told to end by someone",
    }
    return f"{words.get(name, 'ended at once, as it does when memory runs out (it had used ' + used + ')')} ({name})."


def lack(name: str, message: str) -> str | None:
    """In a sentence, what the machine had not enough of or did not allow, if that is what this exception is about."""
    number = re.match(r"\[Errno (\d+)\]", message)
    code = errno.errorcode.get(int(number[1])) if number else None
    rest = message.partition("] ")[2] if number else message
    if "can't start new thread" in message:
        return f"memory ran out, or the limit on threads is reached (can't start new thread); {FEWER}."
    if name == "MemoryError" or code == "ENOMEM" or NO_MEMORY.search(message):
        return f"memory ran out ({message or name}). {FEWER[0].upper()}{FEWER[1:]}, and lower the batch sizes."
    if number and int(number[1]) in NO_ROOM:
        return f"the disk is full, or a limit is reached ({rest}). Make room; the same command goes on from there."
    if code in ("EACCES", "EPERM", "EROFS"):
        return f"a file may not be written or read ({rest}). Allow it, or choose another folder with outputs_dir."
    if code in ("ENOENT", "ENOTDIR", "ESTALE", "EIO", "ENODEV"):
        return f"a file or folder is gone or cannot be reached ({rest}). Bring it back; the same command goes on."
    return None


def told_on_stderr(copy: Path) -> tuple[str, str]:
    """Name and message of the exception that IPython could only print.

    With no memory left to format it, the cell fails without an error among its outputs.
    """
    words = [
        line
        for cell in read_json(copy)["cells"]
        for output in cell.get("outputs", ())
        if output.get("name") == "stderr"
        for line in "".join(output["text"]).splitlines()
        if re.fullmatch(r"[A-Za-z_.]*(Error|Exception|Interrupt)(: .*)?", line)
    ]
    name, _, message = (words or ["an exception that it could not print"])[-1].partition(": ")
    return name, message


def explain(error: Exception, progress: Progress, copy: Path) -> str:
    """What went wrong, for the user: one sentence for a mistake of theirs, the last frame for one of ours."""
    where = f"{copy.stem} stopped in cell [{progress.cell}]"
    name, message = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "CellExecutionError" and not message:
        name, message = told_on_stderr(copy)
    used = gigabytes(progress.peak)
    frames = [re.sub(r"\x1b\[[0-9;]*m", "", frame) for frame in getattr(error, "traceback", [])]
    details = frames[-2] if len(frames) > 1 else progress.last_words
    if name == "InputError":
        text, details = f"{where}: {message}", ""
    elif name == "DeadKernelError" or "Kernel died" in message:
        status = progress.process.poll() if progress.process else None
        free = gigabytes(shutil.disk_usage(copy.parent).free)
        text = f"{where}: its Python process {how_it_ended(status, used, free)}"
    elif reason := lack(name, message):
        text, details = f"{where}: {reason}", f"It had used {used} of memory." if "memory" in reason else ""
    else:
        text = f"{where} with {name}: {message}"
    return "\n".join([text, *(f"    {line}" for line in details.splitlines()), f"Executed copy: {copy}"])
