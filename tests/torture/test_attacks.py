"""The list of attacks follows the tests: a test that gets another name would silently be played no more."""

import re

import pytest
from torture.attacks import KINDS

from helpers.environment import project_root

PLACES = [(file, name) for files in KINDS.values() for file, names in files.items() for name in names]


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_each_attack_is_a_test(file: str, name: str) -> None:
    tests = re.findall(r"^def (test_\w+)", (project_root() / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert [test for test in tests if name in test]
