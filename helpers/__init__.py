"""Shared code of the notebooks, in wings that follow them.

Each wing's `__init__.py` says what is in it and in which order to read it.

On the ground floor, for all: `profiles` (every setting: start here), `environment`, `downloads`, `files`, `graphs`,
`plots`, `uncertainty` (how sure a figure is, and sentences that follow from figures).
"""

import os
import sys
from types import TracebackType

# OpenVINO and NNCF report their use to their makers unless a file in the home folder forbids it. A lesson should
# not do that unasked: with their reporting package out of sight, both do without it.
sys.modules.setdefault("openvino_telemetry", None)

# The threads that share an operation wait for each other thousands of times a second. Those of PyTorch on Linux keep
# their core busy while they wait, for milliseconds; where another program is at work, that is the time in which
# the thread that is waited for would have had the core. Read by OpenMP when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One sentence where a command cannot import what it needs, or Ctrl-C comes meanwhile: that takes seconds."""
    if issubclass(kind, KeyboardInterrupt):
        print("Interrupted; the same command begins again.", file=sys.stderr)
    elif isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("helpers"):
        print(
            f"The package {error.name} is not there in {sys.executable}; `make run` installs what is needed in .venv, "
            "and `source .venv/bin/activate` makes it the Python of a terminal.",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


# `python -m helpers.search.app` is called "-m" until Python knows which file that is.
if sys.argv and os.path.basename(sys.argv[0]) in ("-m", "run_all.py", "build.py"):  # noqa: PTH119 - pathlib takes a while itself
    sys.excepthook = _say
