"""Packages: what this Python lacks of the course's requirements, installed without touching what it has.

    python -m helpers.packages

For platforms that bring a Python of their own, such as Colab and Kaggle: much of theirs is built to go together, so
each package that is there stays in its version, and pip looks for the missing ones among those that go with it. An own
environment is better made from requirements.lock (README, "Two commands").
"""

import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

_NOT_HERE = {"jupyter"}  # a platform has a Jupyter of its own
_TOOLS = {"pip", "setuptools", "wheel"}  # that install; PyTorch needs a newer setuptools than a new venv may have
_PIN = re.compile(r"(?m)^([\w.\-]+)==(\S+)")


def missing(requirements: str) -> dict[str, str]:
    """Package -> version of what a text like requirements.txt pins and this Python has in no version."""
    lacking = {}
    for name, pinned in _PIN.findall(requirements):
        try:
            version(name)
        except PackageNotFoundError:
            if name not in _NOT_HERE:
                lacking[name] = pinned
    return lacking


def install(packages: dict[str, str]) -> bool:
    """Install `packages` in the versions given, else in older ones, else in any that go with what is there.

    Returns whether that worked.

    pip is held to the versions that are there by a list of constraints, all but those of its own tools.
    """
    # Of several copies of a package, the first is the one that is imported.
    found = reversed([one for one in distributions() if one.metadata["Name"]])
    there = {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in found}
    held = "".join(f"{name}=={its}\n" for name, its in there.items() if name not in _TOOLS)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(held, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
        # A platform has mostly older packages, with which older versions go; newer ones nobody has tried here.
        for limit, said in (("=={}", None), ("<={}", "older ones"), ("", "any others")):
            if said:
                print(
                    f"The versions that the course is tested with do not go with these; looking for {said}.", flush=True
                )
            if not subprocess.run([*pip, *(name + limit.format(pin) for name, pin in packages.items())]).returncode:
                return True
    return False


def main() -> int:
    """Install what is missing beside this file's project; the exit status is 1 where that could not be done."""
    requirements = Path(__file__).parent.parent / "requirements.txt"
    lacking = missing(requirements.read_text(encoding="utf-8"))
    if lacking:
        print(f"Installing {', '.join(lacking)}; what is here already stays as it is.", flush=True)
        if not install(lacking):
            print("pip could not install them; its reasons stand above.", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
