"""Layouts: which of the known ways a folder of captioned photos is laid out in, and the reader for it.

A new layout is a module in `readers/` and a line in `CAPTIONED`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from helpers.data.readers.captions_txt import has_captions_txt, read_captions
from helpers.data.readers.coco import has_annotations, read_coco
from helpers.files import InputError


class Layout(NamedTuple):
    """A way to lay out captioned photos on disk."""

    name: str  # for people
    recognises: Callable[[Path], bool]
    read: Callable[[Path, list[str]], dict[Path, tuple[str, ...]]]  # folder, notices -> photos with their captions


CAPTIONED = (  # the first that recognises a folder reads it
    Layout("COCO 2017, annotations/captions_*.json beside the photos", has_annotations, read_coco),
    Layout("Images/ with captions.txt", has_captions_txt, read_captions),
)


def read_captioned(folder: Path, notices: list[str]) -> dict[Path, tuple[str, ...]]:
    """Photos with their captions from `folder`, whichever layout it has; which one is printed.

    What is left out is added to `notices`.

    Raises:
        InputError: no layout is recognised, or the folder is not complete.
    """
    for layout in CAPTIONED:
        if layout.recognises(folder):
            print(f"{folder}: {layout.name}")
            return layout.read(folder, notices)
    known = "; or ".join(layout.name for layout in CAPTIONED)
    raise InputError(
        f"{folder} holds no captioned photos in a layout that is known here; it needs {known} (if it was downloaded, "
        "delete the folder and run again)."
    )
