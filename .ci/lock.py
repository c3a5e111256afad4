"""Write requirements.lock: what requirements.txt and all that it needs come to, on every platform, with their hashes.

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
# Made from requirements.txt by `make lock`; do not edit. With hashes, for Python 3.11 and newer on all platforms:
#     pip install --require-hashes --no-deps -r requirements.lock
"""


def main() -> None:
    options = "--universal --generate-hashes --python-version 3.11 --no-header --no-annotate --quiet"
    command = [sys.executable, "-m", "uv", "pip", "compile", "requirements.txt", *options.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    packages = re.split(r"(?m)^(?=[a-zA-Z])", run.stdout)  # a line for each, and its hashes below it
    kept = [package for package in packages if package and not LEFT_OUT.match(package)]
    (ROOT / "requirements.lock").write_text(HEAD + "".join(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
