"""A browser for the pages. The one that Playwright installed, else a Chromium or Chrome on the PATH.

Without any, tests that need one are skipped, and say so.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from helpers.search.engine import PhotoSearch

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        installed = playwright.chromium.executable_path
        found = installed if Path(installed).exists() else next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip("no browser to test with; `playwright install chromium` gets one")
        as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses to start for root
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if as_root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def engine(tiny_run: Path) -> PhotoSearch:
    return PhotoSearch(tiny_run)
