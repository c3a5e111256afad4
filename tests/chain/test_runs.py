"""Runs of notebooks that are stepped through by hand; `run_all.py` and its runs are in tests/test_run_all.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.chain.runs import open_run, run_of_own
from helpers.files import InputError, read_json, write_json
from helpers.profiles import chosen_profile, find_run, get_profile


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in ("helpers.profiles", "helpers.environment"):
        monkeypatch.setattr(f"{module}.project_root", lambda: tmp_path)
    (tmp_path / "album" / "summer").mkdir(parents=True)
    return tmp_path


def test_own_photos_get_a_run_that_later_notebooks_find_by_its_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = chosen_profile({"profile": "sample", "seed": 42, "captions_folder": "album/summer", "limit": 50})
    settings = run_of_own(asked)
    assert settings.outputs == project / "outputs" / "summer" and not (project / "outputs" / "sample").exists()
    assert "set profile = 'summer'" in capsys.readouterr().out
    assert chosen_profile({"profile": "summer", "beam": 2}) == replace(settings, beam=2)  # another notebook
    noted = read_json(project / "outputs" / "summer" / "run.json")
    assert noted == {"profile": "sample", "settings": {"captions_folder": "album/summer", "limit": 50}}
    assert run_of_own(asked) == settings  # the cell is run again
    assert run_of_own(settings) == settings and run_of_own(get_profile("sample")) == get_profile("sample")


def test_a_run_keeps_its_seed_and_its_folders_where_later_notebooks_say_none(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        "profile": "sample",
        "seed": 7,
        "data_dir": "big",
        "outputs_dir": "else",
        "captions_folder": "album/summer",
    }
    settings = run_of_own(chosen_profile(asked))
    assert "set profile = 'summer' and outputs_dir = 'else'" in capsys.readouterr().out
    later = chosen_profile({"profile": "summer", "seed": None, "data_dir": None, "outputs_dir": "else"})
    assert later == settings and (later.seed, later.data_dir) == (7, "big")


def test_a_long_folder_name_gives_a_name_that_a_run_can_have(project: Path) -> None:
    folder = project / "photos-of-the-summer-in-the-south-of-fr-2024"  # the 40th character is a dash
    folder.mkdir()
    assert run_of_own(get_profile("sample", captions_folder=folder.name)).run == folder.name[:39]


@pytest.mark.parametrize(("folder", "run"), [("coco", "own_coco"), ("COCO", "own_COCO"), ("Aux", "own_Aux")])
def test_own_photos_never_go_where_a_profile_or_windows_has_its_own(project: Path, folder: str, run: str) -> None:
    (project / folder).mkdir()
    assert run_of_own(get_profile("sample", captions_folder=folder)).run == run


def test_a_run_that_is_called_like_a_profile_in_capitals_already_stays_in_reach(project: Path) -> None:
    (project / "COCO").mkdir()
    folder, settings = project / "outputs" / "COCO", {"captions_folder": str(project / "COCO")}
    write_json(folder / "run.json", {"profile": "sample", "settings": settings})
    assert find_run("COCO") is not None and find_run("CoCo") is None
    assert open_run("COCO", None, {})[0].outputs == folder
    assert run_of_own(get_profile("sample", captions_folder="COCO")).run == "COCO"
    with pytest.raises(InputError, match="would be the folder of the profile coco"):
        open_run("CoCo", "sample", {})


def test_photos_that_are_not_there_or_of_another_run_are_refused_and_nothing_is_written(project: Path) -> None:
    with pytest.raises(InputError, match="autumn does not exist; correct the setting captions_folder"):
        run_of_own(get_profile("sample", captions_folder="album/autumn"))
    assert not (project / "outputs").exists()
    run_of_own(get_profile("sample", captions_folder="album/summer"))
    (project / "summer").mkdir()
    with pytest.raises(InputError, match="There is a run summer already"):
        run_of_own(get_profile("sample", captions_folder="summer"))
