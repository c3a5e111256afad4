"""What a data set holds and a run does not use: each thing with its reason, none of it in silence."""

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from helpers.files import atomic_path, beginning

Kind = Literal["photo", "caption", "class", "file"]
_PLURAL = {"photo": "photos", "caption": "captions", "class": "classes", "file": "files"}
_EXAMPLES = 3  # of each reason, in its sentence


class LeftOut(NamedTuple):
    """One thing that is not used."""

    kind: Kind
    name: str  # its path, or the name and the place in a file
    reason: str  # in the same words for all that share it
    detail: str = ""


@dataclass
class Findings:
    """What is noticed while a data set is read: what was left out, and what had to be done so that it could be used."""

    left_out: list[LeftOut] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def leave_out(self, kind: Kind, name: object, reason: str, detail: str = "") -> None:
        # The names that a disk gives, and the letters that JSON can hold, need not be writable.
        texts = (str(text).encode("utf-8", "backslashreplace").decode() for text in (name, reason, beginning(detail)))
        self.left_out.append(LeftOut(kind, *texts))

    def say(self, sentence: str) -> None:
        self.notices.append(sentence)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind were left out: "photos", "captions", "classes" and "files"."""
        counts = Counter(one.kind for one in self.left_out)
        return {_PLURAL[kind]: counts[kind] for kind in _PLURAL if counts[kind]}

    @property
    def sentences(self) -> list[str]:
        """A sentence for each reason, with some examples, and the notices."""
        groups: dict[tuple[Kind, str], list[LeftOut]] = defaultdict(list)
        for one in self.left_out:
            groups[one.kind, one.reason].append(one)
        sentences = []
        for (kind, reason), group in groups.items():
            examples = ", ".join(dict.fromkeys(one.name for one in group[:_EXAMPLES]))
            more = ", …" if len(group) > _EXAMPLES else ""
            what = kind if len(group) == 1 else _PLURAL[kind]
            sentences.append(f"{len(group):,} {what} left out, {reason}: {examples}{more}.")
        return sentences + self.notices

    def save(self, outputs: Path) -> None:
        """Write `dataset/left_out.csv` below `outputs`: a row for each thing; the header alone where there is none."""
        with (
            atomic_path(outputs / "dataset" / "left_out.csv") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([LeftOut._fields, *self.left_out])
