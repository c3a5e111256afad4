"""Whether the pinned packages have wheels for this Python and this system; else one sentence, and status 1.

Runs before anything is installed, in whatever Python there is.
"""

from __future__ import annotations

import platform
import sys

OLDEST, NEWEST = (3, 11), (3, 14)
GLIBC_ON_ARM = (2, 35)
MACOS = (14, 0)


def numbers(text: str) -> tuple[int, ...]:
    """A version as numbers: (2, 35) of "2.35"."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def why_not(python: tuple[int, ...], system: str, machine: str, release: str) -> str | None:
    """What is missing for these pins; None: nothing.

    Args:
        python: of the interpreter, such as (3, 12).
        system: as of `platform.system()`.
        machine: as of `platform.machine()`.
        release: of macOS or of glibc, such as "14.2"; empty where that is not known.
    """
    arm = machine.lower() in ("arm64", "aarch64")
    known = numbers(release)
    if not OLDEST <= python[:2] <= NEWEST:
        wanted = "Python {}.{} to {}.{} is needed".format(*OLDEST, *NEWEST)
        return "{}, and this is {}.{}: make PYTHON=python3.12".format(wanted, *python[:2])
    if system == "Darwin" and not arm:
        return "PyTorch and OpenVINO have no packages for Macs with Intel processors any more: use Linux or Colab"
    if system == "Darwin" and known and known < MACOS:
        return f"macOS {MACOS[0]} or newer is needed for PyTorch and OpenVINO, and this is {release}"
    if system == "Windows" and arm:
        return "PyTorch and OpenVINO have no packages for Windows on ARM: use WSL with Ubuntu 22.04 or newer"
    if system == "Linux" and arm and known and known < GLIBC_ON_ARM:
        return "OpenVINO on ARM needs glibc {}.{} (Ubuntu 22.04), and this is {}".format(*GLIBC_ON_ARM, release)
    if system == "Linux" and not known:
        return "this Linux has no glibc (Alpine?), and the packages are built for it: use Debian, Ubuntu or Fedora"
    if machine.lower() not in ("x86_64", "amd64", "arm64", "aarch64"):
        return f"there are no packages for processors of the kind {machine}: x86-64 or 64-bit ARM is needed"
    return None


if __name__ == "__main__":
    mac = platform.system() == "Darwin"
    found = platform.mac_ver()[0] if mac else platform.libc_ver()[1] if platform.system() == "Linux" else ""
    if reason := why_not(sys.version_info[:2], platform.system(), platform.machine(), found):
        sys.exit("This cannot be installed here: " + reason + ".")
