"""Downloads from a server that misbehaves; all of its cases are in tests/torture/downloads.py."""

import errno
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory
from torture.downloads import climb, photos_archive, play

from helpers import downloads
from helpers.downloads import Damaged, patiently
from helpers.files import InputError
from helpers.hugging_face import load_pretrained

SENT = {
    "Kaggle": ({"archive.zip": photos_archive()}, "archive.zip"),
    "Hugging Face": ({"config.json": b"{}", "model.safetensors": photos_archive()}, "model.safetensors"),
}


@pytest.mark.parametrize("hub", SENT)
@pytest.mark.parametrize("mode", ["damaged", "403"])
def test_a_download_gets_through_or_says_why_and_leaves_nothing_half(tmp_path: Path, hub: str, mode: str) -> None:
    assert play(hub, mode, tmp_path / "cache", *SENT[hub]) == ""


def test_a_kaggle_download_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    assert play("Kaggle", "cut off", tmp_path / "cache", *SENT["Kaggle"]) == ""


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_whose_members_climb_out_is_refused(tmp_path: Path, kind: str) -> None:
    assert climb(kind, tmp_path) == ""


@pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/root.txt", "C:\\windows.txt", "..\\up.txt"])
def test_no_member_of_a_zip_may_name_a_place_outside(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as file:
        file.writestr("inside/a..b.txt", "fine")
    with downloads.members_inside(), zipfile.ZipFile(tmp_path / "archive.zip") as file:
        file.extractall(tmp_path / "good")
    assert (tmp_path / "good" / "inside" / "a..b.txt").read_text() == "fine"
    with zipfile.ZipFile(tmp_path / "archive.zip", "a") as file:
        file.writestr(zipfile.ZipInfo(name), "out")
    with (
        pytest.raises(downloads.ClimbsOut),
        downloads.members_inside(),
        zipfile.ZipFile(tmp_path / "archive.zip") as file,
    ):
        file.extractall(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waited.append)
    return waited


def failing(*errors: Exception) -> object:
    """A download that fails with each of these, then succeeds."""
    left = list(errors)

    def fetch() -> str:
        if left:
            raise left.pop(0)
        return "there"

    return fetch


def refused(status: int, **headers: str) -> Exception:
    error = OSError(f"HTTP {status}")
    error.response = SimpleNamespace(status_code=status, headers=headers)
    return error


def test_what_may_pass_is_waited_for_and_said(pauses: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    busy = refused(429, **{"Retry-After": "7"})
    assert patiently(failing(busy, Damaged(), TimeoutError()), "The photos", "stop") == "there"
    assert pauses == [7, 10, 30]
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "The photos: the server is asked too much and wants patience (status 429); trying again in 7 s"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refused(403), "the server wants an account, or consent to its terms (status 403)"),
        (refused(404), "the server has nothing of that name (status 404)"),
        (OSError(errno.ENOSPC, "No space left on device", "a.zip"), "the disk is full (a.zip)"),
        (ConnectionRefusedError(), "there is no connection to the server"),
        (ValueError("The file 'a' holds " + "word " * 100 + "'and so on'"), "ValueError, The file 'a' holds word"),
    ],
)
def test_what_does_not_pass_is_one_sentence_at_once(pauses: list[float], error: Exception, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        patiently(failing(error), "The photos", "use your own")
    message = str(caught.value)
    assert message.startswith(f"The photos could not be downloaded: {reason}") and message.endswith("; use your own.")
    assert pauses == [] and message.count("'") % 2 == 0 and len(message) < 400


def test_patience_ends(pauses: list[float]) -> None:
    with pytest.raises(InputError, match=r"the server is at fault \(status 503\); stop"):
        patiently(failing(*[refused(503)] * 9), "The photos", "stop")
    assert pauses == list(downloads.PAUSES)


TYPO, CLOSED = "the hub has nothing of that name, or wants an account for it", "the server wants an account, or consent"


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (401, {}, TYPO),  # nothing of that name, asked for without an account
        (404, {"X-Error-Code": "RepoNotFound"}, TYPO),  # and with one
        (401, {"X-Error-Code": "GatedRepo"}, CLOSED),
        (403, {"X-Error-Code": "GatedRepo"}, CLOSED),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, CLOSED),
    ],
)
def test_a_hub_that_opens_nothing_is_a_name_to_check_or_an_account(
    pauses: list[float], status: int, headers: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers=headers, request=request)

    monkeypatch.setattr(downloads, "unreachable", lambda _: "")
    set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))
    try:
        with pytest.raises(InputError) as caught:
            load_pretrained("nobody/typo", ("AutoImageProcessor", "AutoModel"), "The backbone", "use another")
    finally:
        set_client_factory(default_client_factory)
    message = str(caught.value)
    assert message.startswith(f"The backbone nobody/typo could not be loaded: {reason}")
    assert message.endswith(f"(status {status}); check the name, or log in with `hf auth login`, or use another.")
    assert pauses == []


def test_where_the_hub_cannot_be_reached_its_library_does_not_knock_for_minutes(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for address in ("https://hub.invalid", "http://127.0.0.1:1"):  # a mirror of the user's
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        begun = time.monotonic()
        with pytest.raises(InputError) as caught:
            load_pretrained("somebody/model", ("AutoModel",), "The backbone", "use another")
        assert str(caught.value) == (
            f"The backbone somebody/model could not be loaded: {address} cannot be reached; connect to the Hugging "
            "Face hub once, or use another."
        )
        assert time.monotonic() - begun < 10 and pauses == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["models/of/mine", "../tiny", "a" * 300])
def test_a_name_that_no_model_of_the_hub_can_have_is_to_be_checked(name: str) -> None:
    with pytest.raises(InputError, match=r"there is no such folder, and the hub has no such names; check the name"):
        load_pretrained(name, ("AutoModel",), "The backbone", "use another")


def test_a_folder_without_a_model_is_to_be_corrected_and_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"could not be loaded: .*; correct that folder, or use another\.$"):
        load_pretrained(str(tmp_path), ("AutoModel",), "The backbone", "use another")
