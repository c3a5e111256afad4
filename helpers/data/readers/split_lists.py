"""Lists of photos by split, a name a line: `Flickr_8k.trainImages.txt`, `.devImages.txt` and `.testImages.txt`."""

from pathlib import Path

from helpers.data.left_out import Findings
from helpers.data.manifest import Split
from helpers.data.readers.place import Place, lines_of, split_of
from helpers.files import InputError


def read_split_lists(place: Place, findings: Findings) -> dict[Path, Split]:
    """The split of each photo that a list names; empty where there are no lists.

    Raises:
        InputError: two lists name the same photo.
    """
    splits: dict[Path, Split] = {}
    for file in place.files(".txt", ".lst"):
        split = split_of(file, place.folder)
        head = [line for _, line in lines_of(place.head(file))][:50]
        beside = file in place.beside  # whose words are a caption, though a photo may be called so
        if split is None or beside or not head or not all(place.names_a_photo(line) for line in head):
            continue
        lines = list(lines_of(place.text(file, findings)))
        found = place.find(line for _, line in lines)
        for number, line in lines:
            path = found[line]
            if path is None:
                findings.leave_out(
                    "photo", f"{line.strip()} ({file.name}, line {number})", "in a list of photos, and not here"
                )
            elif splits.setdefault(path, split) != split:
                raise InputError(
                    f"{file} puts {line.strip()} in {split} (line {number}), and another list puts it in "
                    f"{splits[path]}; give each photo one split."
                )
    return splits
