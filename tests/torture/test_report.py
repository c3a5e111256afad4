from pathlib import Path

from torture.report import BEGIN, END, write
from torture.rows import Row

from helpers.environment import project_root
from helpers.files import write_json


def test_the_table_holds_all_rows_with_what_failed_first_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", encoding="utf-8")
    write_json(tmp_path / "a.json", [vars(Row("kills", 100, "all came back", "python tests/torture kills", True))])
    write_json(
        tmp_path / "b.json", [vars(Row("fuzz", 123456, "3 bad | 1 hang", "python tests/torture/fuzz.py", False))]
    )
    for _ in range(2):  # a second time changes nothing
        write(page, tmp_path)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Before." and lines[-1] == "After." and "old" not in lines
    assert [line for line in lines if line.startswith("|")][2:] == [
        "| fuzz | 123,456 | **bad:** 3 bad \\| 1 hang | `python tests/torture/fuzz.py` |",
        "| kills | 100 | all came back | `python tests/torture kills` |",
    ]


def test_the_page_has_a_place_for_the_table() -> None:
    text = (project_root() / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
