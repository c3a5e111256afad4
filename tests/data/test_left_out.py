import csv
from pathlib import Path

from helpers.data.left_out import Findings


def test_what_is_left_out_is_counted_grouped_and_listed(tmp_path: Path) -> None:
    findings = Findings()
    for number in range(4):
        findings.leave_out("photo", f"{number}.jpg", "without a caption")
    findings.leave_out("caption", "9.jpg (captions.txt, line 3)", "without words", '", odd \udcff\n')
    findings.leave_out("class", "ragno", "without photos")
    findings.say("One end was missing.")
    assert findings.counts == {"photos": 4, "captions": 1, "classes": 1}
    assert findings.sentences == [
        "4 photos left out, without a caption: 0.jpg, 1.jpg, 2.jpg, ….",
        "1 caption left out, without words: 9.jpg (captions.txt, line 3).",
        "1 class left out, without photos: ragno.",
        "One end was missing.",
    ]
    findings.save(tmp_path)
    with (tmp_path / "dataset" / "left_out.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["kind", "name", "reason", "detail"]
    assert [tuple(row) for row in rows] == findings.left_out
    assert rows[4][3] == '", odd \\udcff\n'


def test_a_long_detail_is_cut_where_it_shows() -> None:
    findings = Findings()
    findings.leave_out("caption", "9.jpg", "too long", "word " * 100)
    assert findings.left_out[0].detail == "word " * 39 + "word…"
