"""The package as other code gets it: installed, under a name of its own, used from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.environment import project_root

NAME = "image_captioning_and_search"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from, into which `pip install .` has put the package."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("setup.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(project_root() / name, source)
    shutil.copytree(project_root() / "helpers", source / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site,
        ".",
    ]
    subprocess.run(pip, cwd=source, check=True)
    return site


def test_a_trained_captioner_captions_a_photo_in_three_lines_beside_helpers_of_another_kind(
    installed: Path, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "helpers.py").write_text("raise SystemExit('this is not the package')")
    photo, folder = tiny_run / "photos" / "photo_00.jpg", tiny_run / "captioners" / "attention"
    lines = [
        "from pathlib import Path",
        f"from {NAME}.captioning.captioner import load_captioner",
        f"print(load_captioner(Path({str(folder)!r})).caption({str(photo)!r}))",
        "import sys; assert 'helpers' not in sys.modules",
        f"from {NAME}.profiles import get_profile",
        "assert get_profile('sample').outputs == Path.cwd() / 'outputs' / 'sample'",
    ]
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    from helpers.captioning.captioner import load_captioner

    assert run.stdout.strip() == load_captioner(folder).caption(photo)


def test_the_wheel_holds_every_module_and_what_lies_beside_them_once_under_one_name(installed: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix() for path in found}

    assert files(installed / NAME) == files(project_root() / "helpers")
    assert not (installed / "helpers").exists()
    for path in (installed / NAME).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?m)^\s*(from|import) helpers\b", text), path
        assert not re.search(r'"-m", "helpers', text), path
