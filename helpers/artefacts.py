"""Artefacts: files that a later stage reads are sealed when they are written, and checked when they are read.

    seal(folder, "weights.pt", "config.json")                    # once they are written
    check("notebook 03a", folder / "weights.pt")                 # before it is used; InputError if it has changed

`checksums.json` in each folder names the files, the SHA-256 of each and the versions that made it. A disk that forgets
a byte, files of two runs in one folder and ids in another order would else be answers that look like any others. A
folder that several notebooks write into is sealed by each of them for its own files.

The check costs one reading of a file in a process, and the next when the file has changed.
"""

import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import Field

from helpers.files import InputError, digest, read_as, reading, write_json

CHECKSUMS = "checksums.json"
MEBIBYTES = 1024  # of a larger file so many are looked at, spread over it; grids of large data sets are larger

# What a setting of a model may be, for `read_as`.
Size = Annotated[int, Field(ge=1, le=2**17)]  # of what the weights are as large as
Few = Annotated[int, Field(ge=1, le=1024)]  # layers, heads, tokens, pixels a side: what else takes time or memory
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True)
class Seal:
    """What `checksums.json` says of a file."""

    sha256: str
    made_with: str


Seals = dict[str, Seal]


def seal(folder: Path, *names: str) -> None:
    """Note checksums of the files `names` in `folder`, beside those that are noted; of files that are gone, none."""
    path = folder / CHECKSUMS
    known = read_as(Seals, path, "the chain") if path.exists() else {}
    known |= {name: Seal(sha256=digest(folder / name, MEBIBYTES).hex(), made_with=_versions()) for name in names}
    write_json(path, {name: asdict(known[name]) for name in sorted(known) if (folder / name).exists()})


def check(made_by: str, *paths: Path) -> None:
    """Compare files with what `seal` noted of them.

    Files of an earlier version of this course have no checksums: that is printed, once, and they are used.

    Raises:
        InputError: one is missing, damaged, or from another run than its checksum.
    """
    for path in paths:
        with reading(path, made_by):
            found = digest(path, MEBIBYTES).hex()
        noted = path.with_name(CHECKSUMS)
        known = read_as(Seals, noted, made_by) if noted.exists() else {}
        if path.name not in known:
            _notice()
        elif found != known[path.name].sha256:
            raise InputError(
                f"{path} is not as it was written: it is damaged, or from another run; "
                f"delete it and run {made_by} again."
            )


def intact(*paths: Path) -> bool:
    """Whether all of `paths` are there as they were written; if not, why is printed."""
    try:
        check("what made it", *paths)
    except InputError as error:
        print(f"{str(error).rpartition(';')[0]}. It is made again now.")  # and not what to do
        return False
    return True


@cache
def _notice() -> None:
    print(
        "These outputs are of an earlier version, which wrote no checksums: they are used, but damage would not be "
        "noticed. Run the notebooks that made them again to have it noticed."
    )


@cache
def _versions() -> str:
    packages = ("numpy", "torch", "openvino", "faiss-cpu")
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])
