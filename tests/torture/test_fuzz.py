"""The short form of the fuzzer: some thousand inputs, each read rightly or refused in one sentence."""

from pathlib import Path

import pytest
from torture.fuzz import rows, watch

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is held to a bound on Linux only")


def test_no_parser_stumbles_over_odd_inputs(tiny_run: Path) -> None:
    whole, *each = rows(seed=1, fraction=40, run=tiny_run)
    assert [row.outcome for row in each if not row.ok] == []
    assert whole.count > 2500 and whole.outcome == "0 bad"


def test_a_crash_or_a_hang_is_an_outcome_and_not_the_end(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser for this test alone: it stumbles in each way over some of its eight inputs."""
    monkeypatch.setenv("FUZZ_A_BAD_PARSER", "1")
    monkeypatch.setattr("torture.fuzz.HANG", 4.0)
    outcome = watch(["a bad parser"], seed=0, run=tiny_run, fraction=1, start=0, end=None)["a bad parser"]
    assert (outcome.right, outcome.refused) == (2, 1)
    assert {number: problem.partition(" at ")[0] for number, problem in outcome.bad.items()} == {
        2: "KeyError",
        3: "killed by signal 6",
        4: "no answer for 4 s",
        5: "MemoryError",
        6: "1.2 s",
    }
