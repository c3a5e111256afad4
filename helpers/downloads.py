"""Downloads: begun again where waiting helps, and one sentence with the way out where it does not."""

import os
import re
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from helpers.files import NO_ROOM, InputError, digest, first_line, there

PAUSES = (2, 10, 30)  # seconds before each further attempt
_LONGEST = 120  # seconds that a server may ask to wait
_PATIENCE = 8  # seconds that a server has to answer whether it is there
_CLOSED = (401, 403)  # what a server answers who wants to know who asks

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
        except InputError:  # it says what to do
            raise
        except Exception as error:  # network, access, disk: each library has classes of its own
            reason, passes = _why(error, attempt)
            if pause is None or not passes:
                raise InputError(f"{what} could not be {done}: {reason}; {otherwise}.") from error
            pause = max(pause, min(_asked_to_wait(error), _LONGEST))
            print(f"{what}: {reason}; trying again in {pause} s, from where it stopped if the server can.", flush=True)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def hub() -> str:
    """The address of the Hugging Face hub, or of the mirror that `HF_ENDPOINT` names."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


def unreachable(address: str) -> str:
    """Why a server cannot be reached, after its name in a sentence; empty where it can."""
    import requests

    if address.startswith(hub()) and os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return "is not to be asked (HF_HUB_OFFLINE is set)"
    try:
        requests.head(address, timeout=_PATIENCE, allow_redirects=False)
    except requests.RequestException:
        return "cannot be reached"
    return ""


def from_hub(name: str, load: Callable[[bool], Result], what: str, instead: str) -> Result:
    """`load(False)`, which reads model `name` of the Hugging Face hub into its cache and from there, patiently.

    Before that, `load(True)` is to look into the cache alone: what is there needs no network. Then the hub is asked
    whether it is there at all: its own library would knock at every file's door, for minutes where there is no
    connection. That library compares sizes only; here each file is compared with the digest that it is named by.

    Args:
        name: of the hub, or a folder of the user's own.
        load: as above; what it refuses with an `InputError` is not tried again.
        what: as of `patiently`.
        instead: what a user can do without it, as the end of a sentence.

    Raises:
        InputError: as of `patiently`, or of `load`.
    """

    own = there(Path(name).exists)
    way = "correct that folder" if own else "connect to the Hugging Face hub once"

    def check() -> None:
        if not own and (reason := unreachable(hub())):
            raise InputError(f"{what} could not be loaded: {hub()} {reason}; {way}, or {instead}.")

    def fetch() -> Result:
        try:
            return _load(load, check)
        except InputError:
            raise
        except Exception as error:
            causes = list(_causes(error))
            if own or not any(_status(cause) in (*_CLOSED, 404) or _is_no_name(cause) for cause in causes):
                raise
            checked = "check the name, or log in with `hf auth login`"
            raise InputError(f"{what} could not be loaded: {_why(error, 0)[0]}; {checked}, or {instead}.") from error
        finally:  # also where a damaged file made `load` stumble
            _check_cached(name)

    return patiently(fetch, what, f"{way}, or {instead}", done="loaded")


def _load(load: Callable[[bool], Result], check: Callable[[], None]) -> Result:
    try:
        return load(True)
    except InputError:  # all of it is there, and it will not do
        raise
    except Exception as error:  # not all of it is there; each version of the library has its own kinds
        if any(map(_is_no_name, _causes(error))):
            raise
    check()
    return load(False)  # out here, so that it does not carry what was missing along


def cached_folder(name: str) -> Path | None:
    """Where model `name` is read from: a folder of the user's own, or its revision in the hub's cache, if it is there.

    A revision is never written to again; its folder has the name of the commit.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if there(Path(name).exists):
        return Path(name)
    known = None
    with suppress(HFValidationError):  # no model of the hub can have this name
        known = try_to_load_from_cache(name, "config.json")
    return Path(known).parent if isinstance(known, str) else None


def _check_cached(name: str) -> None:
    """Remove files of model `name` from the cache whose content is not what their digest says.

    Raises:
        Damaged: there were some.
    """
    folder = cached_folder(name)
    if folder is None or folder == Path(name):
        return
    damaged = False
    for link in folder.iterdir():
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
        if _is_no_name(cause):
            return "there is no such folder, and the hub has no such names", False
        status = _status(cause)
        if type(cause).__name__ == "RepositoryNotFoundError":  # also of one that this user may not know of
            return f"the hub has nothing of that name, or wants an account for it (status {status})", False
        if status in _CLOSED:
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


def _status(cause: BaseException) -> int | None:
    """What the server answered, if that is what went wrong."""
    return getattr(getattr(cause, "response", None), "status_code", None) or getattr(cause, "code", None)


def _is_no_name(cause: BaseException) -> bool:
    """Whether the hub's own library has not even asked for a model of this name."""
    return type(cause).__name__ == "HFValidationError"


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
