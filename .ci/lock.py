"""Write requirements.lock: what requirements.txt and all that it needs come to, on every platform, with their hashes.

Two things are not as uv writes them. Libraries for CUDA are left out: they are what PyPI's PyTorch for Linux brings
along, nothing here uses them, and who has PyTorch's build for processors would have to install them all the same. And
that build, which pytorch.org offers instead, is admitted where it is known here.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOR_CUDA = re.compile(r"nvidia-|cuda-|triton==")
# torch 2.13.0+cpu, cp311, Linux x86_64, from download.pytorch.org/whl/cpu
FOR_PROCESSORS = {"torch==2.13.0": ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)}
HEAD = """\
# Made from requirements.txt by `make lock`; do not edit. With hashes, for Python 3.11 and newer on all platforms:
#     pip install --require-hashes --no-deps -r requirements.lock
"""


def main() -> None:
    command = [
        "uv",
        "pip",
        "compile",
        "requirements.txt",
        "--universal",
        "--generate-hashes",
        "--python-version",
        "3.11",
    ]
    command += ["--no-header", "--no-annotate", "--quiet"]
    run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    packages = re.split(r"(?m)^(?=[a-zA-Z])", run.stdout)  # a line for each, and its hashes below it
    kept = [package for package in packages if package and not FOR_CUDA.match(package)]
    for place, package in enumerate(kept):
        for digest in FOR_PROCESSORS.get(package.split(" ")[0], ()):
            kept[place] = f"{package.rstrip()} \\\n    --hash=sha256:{digest}\n"
    (ROOT / "requirements.lock").write_text(HEAD + "".join(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
