"""The locks: what requirements.txt and requirements-dev.txt ask for, all of it with hashes, except PyTorch."""

import ast
import re
import runpy
import sys
from importlib.metadata import packages_distributions, requires

import nbformat
import pytest
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


@pytest.mark.parametrize("of", ["requirements", "requirements-dev"])
def test_the_lock_holds_every_requirement_in_the_same_version(of):
    asked, locked = pins(f"{of}.txt"), pins("requirements.lock") | pins(f"{of}.lock")
    asked = {name: version for name, version in asked.items() if name not in ("torch", "torchvision")}
    assert {name: locked.get(name) for name in asked} == asked, "run make lock"
    assert not [name for name in locked if name.startswith(LEFT_OUT) and name != "torchinfo"]


def test_the_second_lock_changes_nothing_that_the_first_installs():
    course, more = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: more[name] for name in course.keys() & more.keys()}.items() <= course.items()
    assert not {"pytest", "sphinx", "ruff", "playwright"} & course.keys()


@pytest.mark.parametrize("files", [["requirements.lock"], ["requirements.lock", "requirements-dev.lock"]])
def test_the_locks_hold_what_the_requirements_need_in_turn(files):
    # They are installed without looking at dependencies: what were missing would be missing on a user's machine.
    locked = {name: version for file in files for name, version in pins(file).items()}
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


def imported(source: str) -> set[str]:
    """Top-level modules that `source` imports, anywhere in it."""
    nodes = [*ast.walk(ast.parse(source))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    whence = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain | whence}


def test_the_course_imports_nothing_that_it_does_not_install():
    # Tests run where more is installed: what the course takes from there would be missing on a user's machine.
    root = project_root()
    modules = [root / "run_all.py", *(path for path in (root / "helpers").rglob("*.py") if "scale" not in path.parts)]
    sources = [path.read_text(encoding="utf-8") for path in modules]
    for path in (root / "notebooks").glob("0[1-7]*.ipynb"):
        sources += [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    ours = {"helpers", "run_all", "image_captioning_and_search"}
    others = set().union(*map(imported, sources)) - sys.stdlib_module_names - ours
    assert {"torch", "faiss", "papermill", "seaborn"} <= others
    brought_by = packages_distributions()
    course = {*pins("requirements.lock"), "torch", "torchvision"}
    lacking = {name for name in others if not course & {canonicalize_name(one) for one in brought_by.get(name, ())}}
    assert lacking == {"pyarrow"}  # for Parquet alone, whose reader says what to install


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_of_the_lock_has_a_hash(name):
    lines = (project_root() / name).read_text(encoding="utf-8").split("\n")
    packages = "\n".join(line for line in lines if not line.startswith("#"))
    blocks = re.split(r"(?m)^(?=[a-zA-Z])", packages)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())


def test_what_scaling_out_needs_is_pinned_and_is_asked_for_there_alone():
    lines = (project_root() / "requirements-scale.txt").read_text(encoding="utf-8").splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(one.specifier)) for one in asked)
    others = pins("requirements.lock") | pins("requirements-dev.lock")
    assert not {canonicalize_name(one.name) for one in asked} & others.keys()


@pytest.mark.parametrize(
    ("python", "system", "machine", "release", "reason"),
    [
        ((3, 11), "Linux", "x86_64", "2.28", None),
        ((3, 14), "Linux", "aarch64", "2.35", None),
        ((3, 12), "Darwin", "arm64", "14.5", None),
        ((3, 12), "Windows", "AMD64", "", None),
        ((3, 10), "Linux", "x86_64", "2.35", "Python 3.11 to 3.14 is needed, and this is 3.10"),
        ((3, 15), "Linux", "x86_64", "2.35", "and this is 3.15: make PYTHON=python3.12"),
        ((3, 12), "Darwin", "x86_64", "14.5", "no packages for Macs with Intel processors"),
        ((3, 12), "Darwin", "arm64", "13.6", "macOS 14 or newer is needed"),
        ((3, 12), "Windows", "ARM64", "", "no packages for Windows on ARM"),
        ((3, 12), "Linux", "aarch64", "2.31", "needs glibc 2.35 (Ubuntu 22.04), and this is 2.31"),
        ((3, 12), "Linux", "x86_64", "", "this Linux has no glibc"),
        ((3, 12), "Linux", "riscv64", "2.39", "processors of the kind riscv64"),
    ],
)
def test_a_platform_without_packages_is_told_in_one_sentence(python, system, machine, release, reason):
    why_not = runpy.run_path(str(project_root() / ".ci" / "check_platform.py"))["why_not"]
    said = why_not(python, system, machine, release)
    assert said is None if reason is None else reason in said and "\n" not in said
