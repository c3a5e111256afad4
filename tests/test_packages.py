"""Installing what is missing: in a Python of its own, with packages made for it, and no index but a folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.environment import project_root
from helpers.packages import missing


def make_wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", about)
        wheel.writestr(
            f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that brings `platform_tensor` 1.0 and pip, beside a folder of wheels, for `packages.py` to be run in."""
    folder = tmp_path_factory.mktemp("platform")
    wheels = folder / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "platform_tensor", "1.0")
    make_wheel(wheels, "platform_tensor", "2.0")
    make_wheel(wheels, "lesson", "1.0", "platform_tensor")
    make_wheel(wheels, "lesson", "1.5", "platform_tensor<2")
    make_wheel(wheels, "lesson", "2.0", "platform_tensor>=2")
    make_wheel(wheels, "lesson", "3.0", "platform_tensor<2")  # which the course has not been tried with
    make_wheel(wheels, "novelty", "1.0", "platform_tensor>=2")
    make_wheel(wheels, "novelty", "3.0", "platform_tensor<2")
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
    (folder / "project" / "helpers").mkdir(parents=True)
    for name in ("__init__.py", "packages.py"):
        shutil.copy(project_root() / "helpers" / name, folder / "project" / "helpers")
    return folder


def python(platform: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    run = {"capture_output": True, "text": True, "cwd": platform / "project"}
    only = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(platform / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    folder = "Scripts" if os.name == "nt" else "bin"
    return subprocess.run([platform / "python" / folder / "python", *arguments], env=os.environ | only, **run)


def versions(platform: Path) -> str:
    code = "import lesson, platform_tensor; print(lesson.version, platform_tensor.version)"
    return python(platform, "-c", code).stdout.strip()


@pytest.mark.parametrize(("pinned", "found"), [("1.0", "1.0 1.0"), ("2.0", "1.5 1.0")])
def test_what_is_missing_is_installed_and_what_is_there_stays_as_it_is(platform: Path, pinned: str, found: str) -> None:
    python(platform, "-m", "pip", "uninstall", "--yes", "--quiet", "lesson")
    assert python(platform, "-m", "pip", "install", "--quiet", "platform_tensor==1.0").returncode == 0
    wanted = f"platform_tensor==2.0\nlesson=={pinned}\njupyter==1.1.1\n"
    (platform / "project" / "requirements.txt").write_text(wanted)
    run = python(platform, "-m", "helpers.packages")
    assert run.returncode == 0, run.stderr
    assert "Installing lesson;" in run.stdout
    assert ("looking for older ones" in run.stdout) == (pinned == "2.0")
    assert versions(platform) == found
    again = python(platform, "-m", "helpers.packages")
    assert (again.returncode, again.stdout) == (0, "")


def test_of_two_copies_the_one_that_is_imported_stays(platform: Path) -> None:
    """As where the system's packages lie behind those of a platform, some of them in another spelling."""
    assert (
        python(platform, "-m", "pip", "install", "--quiet", "platform_tensor==1.0", "--force-reinstall").returncode == 0
    )
    python(platform, "-m", "pip", "uninstall", "--yes", "--quiet", "lesson")
    behind = platform / "behind"
    about = behind / "Platform.Tensor-2.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Platform.Tensor\nVersion: 2.0\n")
    (behind / "platform_tensor.py").write_text("version = '2.0'\n")
    site = Path(python(platform, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "behind.pth").write_text(f"{behind}\n")
    (platform / "project" / "requirements.txt").write_text("lesson==2.0\n")
    try:
        run = python(platform, "-m", "helpers.packages")
        assert (run.returncode, versions(platform)) == (0, "1.5 1.0"), run.stdout + run.stderr
    finally:
        (site / "behind.pth").unlink()


def test_newer_versions_are_taken_where_no_older_one_goes_with_what_is_there(platform: Path) -> None:
    assert python(platform, "-m", "pip", "install", "--quiet", "platform_tensor==1.0").returncode == 0
    (platform / "project" / "requirements.txt").write_text("novelty==1.0\n")
    run = python(platform, "-m", "helpers.packages")
    assert run.returncode == 0 and "looking for older ones" in run.stdout and "looking for any others" in run.stdout
    code = "import novelty, platform_tensor; print(novelty.version, platform_tensor.version)"
    assert python(platform, "-c", code).stdout == "3.0 1.0\n"


def test_a_package_may_bring_newer_tools_to_install_with(platform: Path) -> None:
    """As PyTorch does, in an environment that was made with an old setuptools."""
    make_wheel(platform / "wheels", "setuptools", "65.5")
    make_wheel(platform / "wheels", "setuptools", "80.0")
    make_wheel(platform / "wheels", "builder", "1.0")
    make_wheel(platform / "wheels", "builder", "2.0", "setuptools>=77")
    assert python(platform, "-m", "pip", "install", "--quiet", "setuptools==65.5").returncode == 0
    (platform / "project" / "requirements.txt").write_text("builder==2.0\n")
    run = python(platform, "-m", "helpers.packages")
    assert run.returncode == 0 and "looking for" not in run.stdout, run.stderr
    assert python(platform, "-c", "import builder; print(builder.version)").stdout == "2.0\n"


def test_a_package_that_cannot_be_had_is_said_with_the_reasons_of_pip(platform: Path) -> None:
    (platform / "project" / "requirements.txt").write_text("unheard-of==1.0\n")
    run = python(platform, "-m", "helpers.packages")
    assert run.returncode == 1 and "its reasons stand above" in run.stdout
    assert "unheard-of" in run.stderr


def test_here_nothing_is_missing() -> None:
    assert missing((project_root() / "requirements.txt").read_text(encoding="utf-8")) == {}
