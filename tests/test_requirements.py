"""The lock: what requirements.txt asks for, all of it with hashes, except PyTorch."""

import re
from importlib.metadata import requires

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.environment import project_root

LEFT_OUT = ("torch", "torchvision", "nvidia", "cuda", "triton")
PIN = re.compile(r"(?m)^([\w.\-]+)==([^\s;]+)(?: ; ([^\\\n]+))?")


def pins(name: str) -> dict[str, str]:
    text = (project_root() / name).read_text(encoding="utf-8")
    found = PIN.findall(text)  # of some, several versions are named, each for other Pythons
    return {canonicalize_name(name): version for name, version, where in found if not where or Marker(where).evaluate()}


def test_the_lock_holds_every_requirement_in_the_same_version():
    asked, locked = pins("requirements.txt"), pins("requirements.lock")
    asked = {name: version for name, version in asked.items() if name not in ("torch", "torchvision")}
    assert {name: locked.get(name) for name in asked} == asked, "run make lock"
    assert not [name for name in locked if name.startswith(LEFT_OUT) and name != "torchinfo"]


def test_the_lock_holds_what_the_requirements_need_in_turn():
    # It is installed without looking at dependencies: what were missing would be missing on a user's machine.
    locked = pins("requirements.lock")
    for name in locked:
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except ModuleNotFoundError:  # for another platform
            continue
        for one in needed:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                package = canonicalize_name(one.name)
                assert package in locked or package.startswith(LEFT_OUT), f"{name} needs {one}"
                assert package not in locked or one.specifier.contains(locked[package], prereleases=True), one


def test_every_line_of_the_lock_has_a_hash():
    lines = (project_root() / "requirements.lock").read_text(encoding="utf-8").split("\n")
    packages = "\n".join(line for line in lines if not line.startswith("#"))
    blocks = re.split(r"(?m)^(?=[a-zA-Z])", packages)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())


def test_what_scaling_out_needs_is_pinned_and_is_asked_for_there_alone():
    lines = (project_root() / "requirements-scale.txt").read_text(encoding="utf-8").splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(one.specifier)) for one in asked)
    assert not {canonicalize_name(one.name) for one in asked} & pins("requirements.lock").keys()
