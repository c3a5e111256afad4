"""Text files as people have them: UTF-8, UTF-16, UTF-8 with single damaged lines, and other encodings when told."""

import codecs
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.files import InputError

# The longer marks first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD, _LONG_HEAD = 1 << 16, 1 << 22  # bytes that are enough to tell what a file is; where the first lines are long
_FEW = 100  # one damaged line in so many is a damaged line; more are another encoding


def read_text(
    path: Path, findings: Findings, encoding: str | None = None, setting: str | None = "captions_encoding"
) -> str:
    """The text of a file, in the encoding that its first bytes tell, else UTF-8.

    Bytes that are not UTF-8 in a single line, or in fewer than one of a hundred, become "�", and the lines are named.
    Where there are more, the file has another encoding: that is asked for, never guessed.

    Args:
        encoding: what the user says of a file that is neither UTF-8 nor marked.
        setting: where the user can say so, for messages; None: nowhere.

    Raises:
        InputError: the file cannot be opened, is not what its first bytes say, or has an encoding that nobody named.
    """
    content = _bytes(path)
    marked = _marked(content)
    try:
        return content.decode(marked or "utf-8")
    except UnicodeDecodeError as error:
        if marked is not None:
            raise InputError(
                f"{path} is not the {marked} that it begins as ({error.reason}); save it as UTF-8."
            ) from None
    if encoding is not None:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not {encoding} either (byte {error.start:,}: {error.reason}); name another encoding with "
                f"{setting}, or save it as UTF-8."
            ) from None
    lines = content.split(b"\n")
    wrong = [number for number, line in enumerate(lines, start=1) if not _is_utf8(line)]
    first = lines[wrong[0] - 1].strip()
    say = f"say which with {setting}, or " if setting else ""
    if len(wrong) > max(1, len(lines) // _FEW):
        raise InputError(
            f"{path} is not UTF-8 ({len(wrong):,} of {len(lines):,} lines, first line {wrong[0]}), and which encoding "
            f"it has cannot be told for sure: {_choices([lines[number - 1] for number in wrong[:500]])}; {say}save "
            "it as UTF-8."
        )
    shown = first[:60].decode("utf-8", errors="replace")
    findings.say(
        f"{path} has lines that are not UTF-8 ({len(wrong):,}, first line {wrong[0]}); what is lost is shown as �: "
        f"{shown!r}."
    )
    return content.decode("utf-8", errors="replace")


def read_head(path: Path, encoding: str | None = None) -> str:
    """How a text file begins, whatever is wrong with it: enough to tell what it is. Empty for what is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(_HEAD)
            if content.count(b"\n") < 3:
                content += file.read(_LONG_HEAD)
            whole = not file.read(1)
    except OSError:
        return ""
    marked = _marked(content)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)  # which minds no letter that is cut at the end
        unmarked = "utf-8"
    except UnicodeDecodeError:
        unmarked = encoding or "utf-8"
    text = content.decode(marked or unmarked, errors="replace")
    return "" if "\0" in text else text if whole else text.rpartition("\n")[0] or text


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its path and permissions.") from None


def _marked(content: bytes) -> str | None:
    """The encoding that the first bytes tell."""
    if marked := next((encoding for mark, encoding in _MARKS if content.startswith(mark)), None):
        return marked
    # Without a mark, UTF-16 shows by the empty half of each letter.
    if b"\0" in content[:2]:
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_LIKELY = ("gb18030", "shift_jis", "big5", "euc_kr", "cp1252", "cp1250", "cp1251", "cp1256")


def _choices(lines: list[bytes]) -> str:
    """The first of some lines as it reads in encodings that fit all of them, for people to choose from.

    Those that give letters go before those that give other signs in their places.
    """
    found: dict[str, tuple[float, str]] = {}  # text -> share of what is no letter, encoding
    for encoding in _LIKELY:
        try:
            text = b"\n".join(lines).decode(encoding)
        except UnicodeDecodeError:
            continue
        foreign = [character for character in text if character > "\x7f"]
        if all(character.isprintable() for character in foreign):
            others = sum(not character.isalpha() for character in foreign) / len(foreign)
            found.setdefault(text.partition("\n")[0].strip()[:60], (others, encoding))
    best = sorted(found, key=lambda text: found[text][0])[:5]
    return ", ".join(f"{found[text][1]} gives {text!r}" for text in best) or "none of the usual ones fits"
