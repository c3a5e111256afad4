"""Fixtures shared by the tests: small captioned folders that look like the Kaggle ones, a tiny run, a browser."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from playwright.sync_api import Browser, sync_playwright
from small_data import write_captions, write_photo

from helpers.environment import COMMAND

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# The tensors of the tests are tiny. On a busy machine a second thread would cost a hundred times what it saves.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_again() -> Iterator[None]:
    """A command that a test calls takes all cores, and would leave them to all tests after it."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_command_began_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_all.main` notes for the kernels it starts what began them; called by a test, it would for all after it."""
    monkeypatch.setenv(COMMAND, "")
    monkeypatch.delenv(COMMAND)


@pytest.fixture(autouse=True, scope="session")
def its_environment_is_active() -> None:
    """As after `source .venv/bin/activate`: messages then say "python", and else where that is."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture
def captioned_folder(tmp_path: Path) -> Path:
    """Twelve photos with two captions each, one of them with a comma."""
    folder = tmp_path / "captioned"
    rows = []
    for number in range(12):
        name = f"photo_{number:02d}.jpg"
        write_photo(folder / "Images" / name, (20 * number, 100, 200 - 10 * number))
        rows += [(name, f"A red dog , number {number} , runs ."), (name, "A dog on a hill .")]
    write_captions(folder, rows)
    return folder


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """Two classes with twelve photos each, in the Animals-10 layout."""
    for number in range(12):
        write_photo(tmp_path / "classes" / "raw-img" / "cane" / f"{number}.jpg", (10 * number, 0, 0))
        write_photo(tmp_path / "classes" / "raw-img" / "gatto" / f"{number}.png", (0, 10 * number, 0))
    return tmp_path / "classes"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder of a finished run in miniature, see tiny_run.py; tests that change it take a copy."""
    from tiny_run import make_tiny_run  # here, since only the tests of the search need so much

    outputs = tmp_path_factory.mktemp("tiny_run")
    make_tiny_run(outputs)
    return outputs


@pytest.fixture
def holidays(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny run as the run called "holidays", in the outputs folder of a project of its own."""
    monkeypatch.setattr("helpers.profiles.project_root", lambda: tmp_path / "project")
    outputs = tmp_path / "project" / "outputs" / "holidays"
    shutil.copytree(tiny_run, outputs)
    (outputs / "run.json").write_text('{"profile": "sample", "settings": {"beam": 2}}', encoding="utf-8")
    return outputs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser that Playwright installed, else one on the PATH; without any, what needs one is skipped."""
    with sync_playwright() as playwright:
        installed = playwright.chromium.executable_path
        found = installed if Path(installed).exists() else next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            pytest.skip("no browser to test with; `playwright install chromium` gets one")
        as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses to start for root
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if as_root else [])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def close_figures() -> None:
    yield
    plt.close("all")
