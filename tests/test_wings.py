"""The house of helpers: that an import which climbs is found, by the check that `make lint` runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wings_picture import PICTURE, floors, picture

from helpers.environment import project_root


@pytest.fixture
def house(tmp_path: Path) -> Path:
    shutil.copytree(project_root() / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project_root() / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, cwd=house, capture_output=True, text=True)
    return run.returncode, run.stdout


def test_no_import_climbs(house: Path) -> None:
    status, said = lint(house)
    assert status == 0 and "1 kept, 0 broken" in said


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("data/text.py", "from helpers.search.index import SearchIndex", "helpers.data.text -> helpers.search.index"),
        ("graphs.py", "def late():\n    import helpers.data.images", "helpers.graphs -> helpers.data.images"),
        ("captioning/lstm.py", "from helpers.encoders import fusion", "captioning.lstm -> helpers.encoders.fusion"),
        ("newwing/__init__.py", '"""A wing that nobody has given a floor."""', "newwing"),
    ],
)
def test_an_import_that_climbs_or_goes_sideways_or_a_wing_without_a_floor_fails(
    house: Path, module: str, line: str, said: str
) -> None:
    path = house / "helpers" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + line + "\n", encoding="utf-8")
    status, found = lint(house)
    assert status == 1 and said in found


def test_the_picture_in_the_readme_shows_the_house_as_it_is() -> None:
    shown = PICTURE.read_text(encoding="utf-8")
    assert shown == picture(), "python tests/wings_picture.py draws it anew"
    built = {path.parent.name for path in (project_root() / "helpers").glob("*/__init__.py")}
    assert built == {wing for floor in floors()[:-1] for wing in floor}
    assert "docs/wings.svg" in (project_root() / "README.md").read_text(encoding="utf-8")
