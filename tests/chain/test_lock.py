"""Locks on folders: who is kept out, and what happens where the file system knows no locks."""

import errno
import json
import os
import socket
import time
from pathlib import Path

import pytest

from helpers.chain import lock
from helpers.chain.lock import LOCK, run_lock
from helpers.files import InputError, only_one

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def flock_says(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    def flock(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    return request.param


@pytest.mark.parametrize("flock_says", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], indirect=True)
def test_where_there_are_no_locks_that_is_said_and_work_goes_on(
    flock_says: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = (
        f"{tmp_path} cannot be locked ({os.strerror(flock_says)}); see that nothing else is at work there meanwhile.\n"
    )
    for _ in range(2):  # the file of the first is no lock, either
        with run_lock(tmp_path):
            assert capsys.readouterr().out == said
            assert str(os.getpid()) in (tmp_path / LOCK).read_text()
        assert (tmp_path / LOCK).read_text() == ""
        with only_one(tmp_path, "is at work"):
            assert capsys.readouterr().out == said


@pytest.mark.parametrize("flock_says", [errno.ENOLCK], indirect=True)
def test_who_is_seen_to_be_at_work_keeps_others_out_without_locks_too(flock_says: int, tmp_path: Path) -> None:
    holder = {"process": os.getppid(), "machine": socket.gethostname(), "since": "2001-01-01 00:00:00"}
    for left in (
        holder,
        holder | {"process": os.getpid(), "since": "2999-01-01 00:00:00"},
    ):  # their numbers are others'
        (tmp_path / LOCK).write_text(json.dumps(left))
        with run_lock(tmp_path):
            pass
    holder["since"] = time.strftime("%Y-%m-%d %H:%M:%S")
    (tmp_path / LOCK).write_text(json.dumps(holder))
    with pytest.raises(InputError, match=f"at work in .*process {os.getppid()} on "), run_lock(tmp_path):
        pass
    assert json.loads((tmp_path / LOCK).read_text()) == holder


@pytest.mark.parametrize("flock_says", [errno.EIO], indirect=True)
def test_a_disk_that_fails_is_no_lock_of_others(flock_says: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be locked .*see to that disk"), run_lock(tmp_path):
        pass


@pytest.mark.parametrize("flock_says", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES], indirect=True)
def test_a_lock_that_another_process_has_is_waited_for_and_not_passed_by(
    flock_says: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="Another run is at work"), run_lock(tmp_path):
        pass
    with pytest.raises(InputError, match="Another process is at work"), only_one(tmp_path, "is at work"):
        pass
    assert capsys.readouterr().out == ""
