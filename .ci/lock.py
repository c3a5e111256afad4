"""Write the locks: what requirements.txt, and requirements-dev.txt on top of it, come to with all that they need.

They hold for every platform, and name the hashes of all files.

PyTorch is left out, and with it the libraries for CUDA that its build on PyPI brings along for Linux: of one version it
has several builds (pytorch.org offers one for processors alone), and a hash would force one of them on everybody.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = re.compile(r"torch==|torchvision==|nvidia-|cuda-|triton==")
HEAD = """\
# Made from {name}.txt by `make lock`; do not edit. With hashes, for Python 3.11 and newer on all platforms:
#     pip install --require-hashes --no-deps -r {name}.lock
"""


def compiled(*what: str) -> list[str]:
    """What files of requirements, and options about them, come to: of each package its line, its hashes below it."""
    options = "--universal --generate-hashes --python-version 3.11 --no-header --no-annotate --quiet"
    command = [sys.executable, "-m", "uv", "pip", "compile", *what, *options.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    packages = re.split(r"(?m)^(?=[a-zA-Z])", run.stdout)
    return [package for package in packages if package and not LEFT_OUT.match(package)]


def write(name: str, packages: list[str]) -> None:
    (ROOT / f"{name}.lock").write_text(HEAD.format(name=name) + "".join(packages), encoding="utf-8")


def main() -> None:
    course = compiled("requirements.txt")
    write("requirements", course)
    # In the versions of the first lock, so that the second takes nothing back that the first has installed.
    both = compiled("requirements.txt", "requirements-dev.txt", "--constraints", "requirements.lock")
    write("requirements-dev", [package for package in both if package not in course])


if __name__ == "__main__":
    main()
