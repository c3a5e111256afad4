"""Text files as people have them: UTF-8, UTF-16, and files in which some lines have another encoding."""

import codecs
from pathlib import Path

from helpers.files import InputError

# The longer marks first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, notices: list[str]) -> str:
    """The text of a file, in the encoding that its first bytes tell.

    A line that is not UTF-8 is read as Windows-1252, alone, and that is added to `notices`.

    Raises:
        InputError: the file cannot be opened, or is not what its first bytes say.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its path and permissions.") from None
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), None)
    # Without a mark, UTF-16 shows by the empty half of each letter.
    if encoding is None and b"\0" in content[:2]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise InputError(
                f"{path} is not the {encoding} that it begins as ({error.reason}); save it as UTF-8."
            ) from None
    lines = content.split(b"\n")
    wrong = []
    for number, line in enumerate(lines):
        try:
            lines[number] = line.decode("utf-8")
        except UnicodeDecodeError:
            lines[number] = line.decode("cp1252", errors="replace")
            wrong.append(number)
    example = lines[wrong[0]].strip()[:60]
    notices.append(
        f"{len(wrong):,} lines of {path} are not UTF-8 (first at line {wrong[0] + 1}) and are read as Windows-1252, "
        f"{example!r} for example; if that is wrong, save the file as UTF-8."
    )
    return "\n".join(lines)
