"""A notebook opened by itself: see that what it begins with is there, or run the notebooks that make it.

    provide(settings, {"dataset/manifest.json": "01_download"}, run_missing, before="02")

Headless, nobody can be asked, and a missing file ends the notebook in one sentence, as it should in a chain.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict

from IPython.core.error import StdinNotImplementedError

from helpers.environment import COMMAND, project_root
from helpers.files import InputError, require
from helpers.profiles import Profile, get_profile


def provide(settings: Profile, files: Mapping[str, str], run_missing: bool | None, before: str) -> None:
    """See that `files` are there; where some are missing, say what would make them and how long that takes, and run it.

    Args:
        settings: of this notebook; what is run gets the same.
        files: path in the run's folder -> the notebook that writes it.
        run_missing: True runs at once, False never, None asks whoever sits before the notebook.
        before: short name of this notebook, such as "03b".

    Raises:
        InputError: files are missing and nobody wants them made, or a notebook that makes them failed.
    """
    try:
        require(settings.outputs, files)
        return
    except InputError as missing:
        if COMMAND in os.environ:  # a stage of run_all.py, which holds the run's folder
            raise InputError(f"{missing} Without --only and --from, run_all.py does so by itself.") from None
        if run_missing is False:
            raise
        reason = missing
    usual = asdict(get_profile(settings.title, outputs_dir=settings.outputs_dir)) | {"outputs_dir": Profile.outputs_dir}
    changed = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    run = ["--name", settings.run] if settings.run else ["--profile", settings.name]
    command = [sys.executable, str(project_root() / "run_all.py"), *run, "--before", before]
    command += [f"--set={name}={value}" for name, value in changed.items()]
    print(f"{reason}\nOr let them run from here:", flush=True)
    _show([*command, "--list"])
    if run_missing is None and not _asked("Run them now? [y/N] "):
        raise InputError(f"{reason} Or set run_missing = True above: they run from here then.")
    if _show(command):
        raise InputError(f"A notebook that {before} needs did not finish; what it said stands above.")
    require(settings.outputs, files)


def _asked(question: str) -> bool:
    """Whether somebody is there and says yes."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (StdinNotImplementedError, EOFError):  # headless
        return False


def _show(command: list[str]) -> int:
    """Run `command` and print its lines as they come, for a notebook shows nothing else; returns its exit status."""
    # Python would write to a pipe in the system's own encoding, which on Windows lacks most letters.
    utf8 = {"text": True, "encoding": "utf-8", "errors": "replace", "env": os.environ | {"PYTHONIOENCODING": "utf-8"}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=project_root(), **pipes, **utf8) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except BaseException:  # the notebook was interrupted
            process.terminate()
            raise
    return process.returncode
