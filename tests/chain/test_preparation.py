"""A notebook whose inputs are missing: what it offers, and that what it offers is enough."""

import builtins
from pathlib import Path

import pytest
from IPython.core.error import StdinNotImplementedError

from helpers.chain.preparation import provide
from helpers.data.manifest import load_manifest
from helpers.environment import COMMAND
from helpers.files import InputError
from helpers.profiles import Profile, get_profile

FILES = {"dataset/manifest.json": "01_download"}


@pytest.fixture
def settings(tmp_path: Path) -> Profile:
    folders = {"outputs_dir": str(tmp_path / "outputs"), "data_dir": str(tmp_path / "data")}
    return get_profile("sample", scenes=12, pictures_per_class=10, threads=1, **folders)


def answer(monkeypatch: pytest.MonkeyPatch, reply: str | Exception) -> list[str]:
    """Let `reply` answer all questions; returns where they are noted."""
    questions: list[str] = []

    def asked(question: str) -> str:
        questions.append(question)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(builtins, "input", asked)
    return questions


def test_what_is_missing_is_offered_with_its_time_and_made_when_asked_for(
    settings: Profile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = answer(monkeypatch, "Yes ")
    provide(settings, FILES, run_missing=None, before="02")
    said = capsys.readouterr().out
    assert "has no dataset/manifest.json" in said and "About 0:18, one at a time." in said
    assert len(questions) == 1 and "[1/1] 01_download  done" in said
    assert len(load_manifest(settings.outputs).photos) == 12  # with the settings of the notebook that asked
    provide(settings, FILES, run_missing=None, before="02")  # nothing is missing any more
    assert len(questions) == 1 and capsys.readouterr().out == ""


@pytest.mark.parametrize("reply", ["", "n", StdinNotImplementedError("nobody is there"), EOFError()])
def test_without_a_yes_nothing_runs_and_one_sentence_says_how_it_would(
    settings: Profile, monkeypatch: pytest.MonkeyPatch, reply: str | Exception
) -> None:
    answer(monkeypatch, reply)
    with pytest.raises(InputError, match=r"run 01_download first, then this notebook\. Or set run_missing = True"):
        provide(settings, FILES, run_missing=None, before="02")
    assert not settings.outputs.exists()


def test_a_stage_of_run_all_begins_no_second_one(settings: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would wait for the folder that the first one holds."""
    monkeypatch.setenv(COMMAND, "python run_all.py --only 02")
    for run_missing in (None, True):
        with pytest.raises(InputError, match=r"notebook\. Without --only and --from, run_all.py does so by itself"):
            provide(settings, FILES, run_missing, before="02")
    assert not settings.outputs.exists()


def test_names_that_the_terminal_cannot_write_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as a pipe has it on Windows
    place = tmp_path / "Jörg"
    settings = get_profile("sample", scenes=12, pictures_per_class=10, threads=1, outputs_dir=str(place))
    place.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="A notebook that 02 needs did not finish"):
        provide(settings, FILES, run_missing=True, before="02")
    assert f"{place / 'sample'} cannot be written to" in capsys.readouterr().out


def test_false_asks_nobody(settings: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = answer(monkeypatch, "yes")
    with pytest.raises(InputError, match="run 01_download first"):
        provide(settings, FILES, run_missing=False, before="02")
    assert questions == []


def test_a_notebook_that_fails_on_the_way_is_said(settings: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    settings.outputs.parent.mkdir(parents=True)
    settings.outputs.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="A notebook that 02 needs did not finish"):
        provide(settings, FILES, run_missing=True, before="02")
    assert "cannot be written to" in capsys.readouterr().out
