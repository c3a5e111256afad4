"""What the tests of the search share; their browser is in tests/conftest.py."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from helpers.search.engine import PhotoSearch

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def engine(tiny_run: Path) -> PhotoSearch:
    return PhotoSearch(tiny_run)
