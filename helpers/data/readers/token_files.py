"""The original `Flickr8k.token.txt` and Flickr30k's `results_20130124.token`: lines `name#number<TAB>caption`.

Flickr8k's split lists (`Flickr_8k.trainImages.txt` and so on) are read by `split_lists.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.data.readers.place import Captioned, Place, Row, join, lines_of

_LINE = re.compile(r"(?P<photo>[^\t]+)#\s*\d+\t(?P<caption>.*)")


def read_tokens(place: Place, findings: Findings) -> Captioned | None:
    """The captions of the token file in a folder; None: there is none.

    Raises:
        InputError: no line belongs to a photo.
    """
    files = [path for path in place.files(".txt", ".token") if _recognised(place.head(path))]
    if not files:
        return None
    # Flickr8k.lemma.token.txt, which lies beside it, has the same captions as a linguist's program left them.
    file = next((path for path in files if "lemma" not in path.name), files[0])
    return join(
        _rows(file, place, findings), place, file, findings, f"{place.name(file)}, lines name#number, tab, caption"
    )


def _recognised(text: str) -> bool:
    lines = [line for _, line in lines_of(text)][:50]
    return bool(lines) and 2 * sum(bool(_LINE.fullmatch(line)) for line in lines) > len(lines)


def _rows(file: Path, place: Place, findings: Findings) -> Iterator[Row]:
    for number, line in lines_of(place.text(file, findings)):
        if match := _LINE.fullmatch(line):
            yield Row(match["photo"], match["caption"], f"line {number}")
        else:
            findings.leave_out(
                "caption", f"{file.name}, line {number}", "in a line that is not name#number, tab, caption"
            )
