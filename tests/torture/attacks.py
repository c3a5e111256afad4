"""Known attacks, each of which got in, or did damage, once: they are kept as tests, and counted here by their kind."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from torture.rows import Row

from helpers.environment import project_root

# Kind -> the tests that play it: a file, and names of tests in it. A test with parameters is as many attacks.
KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pickles and weights that run code or make pointers": {
        "test_pickles.py": (
            "whatever_is_no_array",
            "attacks_differ",
            "runs_a_command",
            "thousands_of_mutants",
        ),
        "training/test_checkpoints.py": ("moments", "code_in_a_checkpoint"),
    },
    "pages of others, visitors without a token, files that are not photos of the run": {
        "search/test_app.py": (
            "without_the_token",
            "exchanged_for_a_cookie",
            "only_names_of_this_machine",
            "other_pages_change_nothing",
            "load_nothing_from_elsewhere",
            "nothing_but_the_photos",
            "any_words_are_answered",
            "a_wrong_file",
            "too_large",
            "without_an_end",
            "strangers_wrote",
            "too_many_are_sent_away",
        ),
        "search/test_engine.py": ("own_html",),
    },
    "the same weights as other bytes": {
        "training/test_checkpoints.py": ("same_bytes",),
        "deploy/test_export.py": ("same_files",),
    },
    "silent damage: bytes, order, files of other models": {
        "test_artefacts.py": ("whatever_happens_to_a_file",),
        "features/test_store.py": ("do_not_belong_together", "damaged_features", "something_else_than_vectors"),
        "search/test_index.py": ("torn_a_missing_and_a_foreign", "torn_and_missing", "another_order", "sealed"),
        "search/test_engine.py": ("earlier_training",),
        "captioning/test_captioner.py": ("two_trainings", "vocabulary_of_another", "larger_than_its_weights"),
    },
    "two runs at once in one folder": {"test_run_all.py": ("second_run_is_refused",)},
    "a full disk under a memory-mapped file": {
        "test_files.py": ("reserved_file", "no_room"),
        "test_artefacts.py": ("full_disk",),
        "features/test_store.py": ("does_not_fit",),
    },
    "files and settings that ended in a traceback": {
        "test_profiles.py": ("another_type_or_out_of_range",),
        "data/test_manifest.py": ("no_manifest",),
        "search/test_index.py": ("metadata_of_another_shape",),
        "captioning/test_captioner.py": ("another_type_or_size",),
        "test_files.py": ("read_as_what_it_should_be", "read_or_named", "cannot_be_written"),
    },
    "a machine too busy to answer within seconds": {"test_run_all.py": ("slow_kernel", "dead_kernel")},
    "what killed runs leave, and a power cut": {
        "test_files.py": ("durable_write", "only_old_temporary"),
        "test_run_all.py": ("ctrl_c", "told_to_end"),
    },
    "archives whose members climb out": {"test_downloads.py": ("climb_out", "no_member_of_a_zip")},
}


def rows(kinds: dict[str, dict[str, tuple[str, ...]]] = KINDS) -> list[Row]:
    """A row for all attacks together, and one for each kind."""
    found = []
    for kind, files in kinds.items():
        counts = [_play(project_root() / "tests" / file, names) for file, names in files.items()]
        played, got_in = (sum(count[place] for count in counts) for place in (0, 1))
        found.append(Row(f"attacks: {kind}", played, f"{got_in} of {played} got in", "attacks", played > 0 == got_in))
    played = sum(row.count for row in found)
    got_in = sum(int(row.outcome.split()[0]) for row in found)
    return [Row("attacks: all that are known", played, f"{got_in} of {played} got in", "attacks", got_in == 0), *found]


def _play(file: Path, names: tuple[str, ...]) -> tuple[int, int]:
    """How many attacks there were, and how many got in; a name without a test counts as one of each."""
    played = got_in = 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", str(file), "-k", " or ".join(names), f"--junitxml={report}"]
        subprocess.run(command, cwd=project_root(), capture_output=True)
        cases = list(ElementTree.parse(report).iter("testcase"))
    for name in names:
        ran = [case for case in cases if name in case.get("name", "") and case.find("skipped") is None]
        bad = [case for case in ran if case.find("failure") is not None or case.find("error") is not None]
        played, got_in = played + max(1, len(ran)), got_in + (len(bad) if ran else 1)
    return played, got_in
