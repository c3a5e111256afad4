"""Downloads: begun again where waiting helps, and one sentence with the way out where it does not."""

import re
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from helpers.files import NO_ROOM, InputError, digest, first_line

PAUSES = (2, 10, 30)  # seconds before each further attempt
_LONGEST = 120  # seconds that a server may ask to wait

Result = TypeVar("Result")


class Damaged(Exception):
    """What came is not what was sent."""


class ClimbsOut(Exception):
    """An archive names a file that would lie outside of the folder that it is unpacked into."""


@contextmanager
def members_inside() -> Iterator[None]:
    """Unpack nothing of an archive that has a member which climbs out of its folder, by whichever library.

    `tarfile` refuses it; `zipfile` would put it somewhere inside, under another name. Nobody makes such an archive by
    mistake, so that the rest of it is not to be trusted either.

    Raises:
        ClimbsOut: there is such a member.
    """
    extract_all = zipfile.ZipFile.extractall

    def extract(archive: zipfile.ZipFile, *arguments: Any, **options: Any) -> None:
        for name in archive.namelist():
            paths = PurePosixPath(name), PureWindowsPath(name)
            if any(path.anchor or ".." in path.parts for path in paths):
                raise ClimbsOut(name)
        extract_all(archive, *arguments, **options)

    zipfile.ZipFile.extractall = extract
    try:
        yield
    except tarfile.FilterError as error:
        raise ClimbsOut(error.tarinfo.name) from error
    finally:
        zipfile.ZipFile.extractall = extract_all


def patiently(fetch: Callable[[], Result], what: str, otherwise: str, done: str = "downloaded") -> Result:
    """`fetch()`, a few times where what stopped it may pass: a broken connection, a server that is busy or at fault.

    Args:
        what: what is fetched, as the beginning of a sentence.
        otherwise: what to do instead, as its end.
        done: what is done with it.

    Raises:
        InputError: it cannot be had, in one sentence.
    """
    for attempt, pause in enumerate((*PAUSES, None)):
        try:
            return fetch()
        except Exception as error:  # network, access, disk: each library has classes of its own
            reason, passes = _why(error, attempt)
            if pause is None or not passes:
                raise InputError(f"{what} could not be {done}: {reason}; {otherwise}.") from error
            pause = max(pause, min(_asked_to_wait(error), _LONGEST))
            print(f"{what}: {reason}; trying again in {pause} s, from where it stopped if the server can.", flush=True)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def from_hub(name: str, load: Callable[[bool], Result], what: str, otherwise: str) -> Result:
    """`load(False)`, which reads model `name` of the Hugging Face hub into its cache and from there, patiently.

    Before that, `load(True)` is to look into the cache alone: what is there needs no network, and the hub's own library
    would knock at every file's door first, for minutes where there is no connection. That library compares sizes only;
    here each file is compared with the digest that it is named by.

    Raises:
        InputError: as of `patiently`.
    """

    def fetch() -> Result:
        try:
            with suppress(Exception):  # not all of it is there; each version of the library has its own kinds
                return load(True)
            return load(False)
        finally:  # also where a damaged file made `load` stumble
            _check_cached(name)

    return patiently(fetch, what, otherwise, done="loaded")


def _check_cached(name: str) -> None:
    """Remove files of model `name` from the cache whose content is not what their digest says.

    Raises:
        Damaged: there were some.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(name).exists():  # a folder of the user's own
        return
    known = try_to_load_from_cache(name, "config.json")
    damaged = False
    for link in Path(known).parent.iterdir() if isinstance(known, str) else ():
        blob = link.resolve()  # large files are named by their SHA-256; where there are no links, by nothing
        if len(blob.name) == 64 and blob.is_file() and digest(blob).hex() != blob.name:
            link.unlink()
            blob.unlink(missing_ok=True)
            damaged = True
    if damaged:
        raise Damaged


def _why(error: Exception, attempt: int) -> tuple[str, bool]:
    """The reason in words, and whether it may pass."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return f"the disk is full ({cause.filename or 'where the data is kept'})", False
        if isinstance(cause, Damaged) or type(cause).__name__ == "DataCorruptionError" or "invalid hash" in str(cause):
            return "what came was damaged on the way", True
        if isinstance(cause, ClimbsOut):
            return f"its archive would write outside of its own folder ({cause})", False
        status = getattr(getattr(cause, "response", None), "status_code", None) or getattr(cause, "code", None)
        if status in (401, 403):
            return f"the server wants an account, or consent to its terms (status {status})", False
        if status == 404:
            return "the server has nothing of that name (status 404)", False
        if status == 429:
            return "the server is asked too much and wants patience (status 429)", True
        if isinstance(status, int) and status >= 500:
            return f"the server is at fault (status {status})", True
    names = " ".join(type(cause).__name__ for cause in causes)
    if re.search(
        r"NewConnection|ConnectError|URLError|NameResolution|ConnectTimeout|gaierror|ConnectionRefused", names
    ):
        return "there is no connection to the server", attempt > 0  # one that was there may come back
    if re.search(r"Timeout", names):
        return "the server fell silent", True
    if re.search(r"IncompleteRead|ChunkedEncoding|Protocol|ConnectionReset|ConnectionError|RemoteDisconnect", names):
        return "the connection broke off", True
    return ", ".join(dict.fromkeys((type(error).__name__, first_line(error)))), False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it; libraries wrap what happened in their own."""
    while error is not None:
        yield error
        wrapped = next((part for part in error.args if isinstance(part, BaseException)), None)
        error = error.__cause__ or error.__context__ or wrapped


def _asked_to_wait(error: Exception) -> int:
    """Seconds that the server named in its reply, else 0."""
    responses = [response for cause in _causes(error) if (response := getattr(cause, "response", None)) is not None]
    asked = next((response.headers.get("Retry-After", "") for response in responses), "")
    return int(asked) if asked.isdigit() else 0
