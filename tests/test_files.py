import errno
import hashlib
import json
import math
import os
import pickle
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from unicodedata import normalize

import numpy as np
import psutil
import pytest
from pydantic import Field

from helpers.environment import project_root
from helpers.files import (
    InputError,
    Options,
    atomic_path,
    below,
    check_space,
    digest,
    exit_status,
    fingerprint_files,
    fingerprint_folder,
    first_line,
    load_array,
    load_pickle,
    native_write,
    read_as,
    read_json,
    require,
    reserved_memmap,
    save_pickle,
    sighted,
    stamp,
    sweep_temporary,
    write_json,
    write_out,
    written_files,
)


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"kept": 1})
    with pytest.raises(RuntimeError, match="power cut"), atomic_path(path) as temporary:
        temporary.write_text("half a fi")
        raise RuntimeError("power cut")
    assert read_json(path) == {"kept": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_json_keeps_other_alphabets(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"caption": "ein Schäfchen, 犬"})
    assert read_json(tmp_path / "a.json")["caption"] == "ein Schäfchen, 犬"


def test_json_is_what_every_reader_of_json_reads(tmp_path: Path) -> None:
    """Python's own writes NaN, at which browsers and jq stop."""
    write_json(
        tmp_path / "a.json", {"score": [1.5, math.nan, (np.float64("nan"), 2)], "rows": {"a": math.inf, "b": True}}
    )
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "score": [1.5, None, [None, 2]],
        "rows": {"a": None, "b": True},
    }


def test_missing_and_torn_json_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json does not exist; run notebook 02 first"):
        read_json(tmp_path / "gone.json", made_by="notebook 02")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"torn\.json is not valid JSON"):
        read_json(tmp_path / "torn.json")


def test_pickle_of_vectors_round_trips(tmp_path: Path) -> None:
    vectors = {"a.jpg": np.arange(4, dtype=np.float32), "b.jpg": np.zeros(4, np.float32)}
    save_pickle(tmp_path / "v.pkl", vectors)
    loaded = load_pickle(tmp_path / "v.pkl")
    assert list(loaded) == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(loaded["a.jpg"], vectors["a.jpg"])


def test_torn_pickle_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.pkl").write_bytes(pickle.dumps(np.zeros(100))[:-40])
    with pytest.raises(InputError, match=r"torn\.pkl cannot be used"):
        load_pickle(tmp_path / "torn.pkl")


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    files, folder = fingerprint_files([tmp_path / "a", tmp_path / "b"]), fingerprint_folder(tmp_path)
    assert fingerprint_files([tmp_path / "b", tmp_path / "a"]) != files
    assert fingerprint_folder(tmp_path) == folder
    (tmp_path / "b").write_text("22")
    assert fingerprint_files([tmp_path / "a", tmp_path / "b"]) != files
    assert fingerprint_folder(tmp_path) != folder


def test_a_fingerprint_is_of_names_and_contents_in_the_same_order_on_every_system(tmp_path: Path) -> None:
    by_hand = sha256()
    for name in ("B", "a/z", "a-b", f"c/{normalize('NFC', 'é')}1", "d"):  # a folder at a time, capitals first
        path = tmp_path / "x" / normalize("NFD", name)  # as an old disk of a Mac has it
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        by_hand.update(f"{name}\n".encode() + sha256(name.encode()).digest())
    assert fingerprint_folder(tmp_path / "x") == by_hand.hexdigest()[:12]
    (tmp_path / "x" / ".hidden").write_text("")
    (tmp_path / "x" / "Thumbs.db").write_text("")
    (tmp_path / "x" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "x" / "back").symlink_to(tmp_path / "x")
    assert fingerprint_folder(tmp_path / "x") == by_hand.hexdigest()[:12]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such files")
def test_a_pipe_and_a_name_without_letters_do_not_stop_a_fingerprint(tmp_path: Path) -> None:
    before = fingerprint_folder(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert fingerprint_folder(tmp_path) == before
    (tmp_path / os.fsdecode(b"\xff")).write_text("")
    assert fingerprint_folder(tmp_path) != before


def test_files_that_come_and_go_while_a_folder_is_looked_at_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stays").write_text("here")
    alone = fingerprint_folder(tmp_path), stamp(tmp_path)
    listed = [(b"stays", tmp_path / "stays"), (b"went", tmp_path / "went")]
    monkeypatch.setattr("helpers.files._named_below", lambda folder: listed)
    assert stamp(tmp_path) == alone[1] and fingerprint_folder(tmp_path) != alone[0]


def test_what_changes_behind_a_link_is_seen(tmp_path: Path) -> None:
    for name in ("disk", "album"):
        (tmp_path / name).mkdir()
    (tmp_path / "album" / "photos").symlink_to(tmp_path / "disk")
    before = sighted(tmp_path / "album").split()
    (tmp_path / "disk" / "photo.jpg").write_text("")
    assert not set(before) & set(sighted(tmp_path / "album").split())


def test_what_cannot_be_written_is_one_sentence_and_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "folder.json" / "kept").mkdir(parents=True)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"folder\.json cannot be written \(a folder has this name\)"):
        write_json(tmp_path / "folder.json", {})
    with pytest.raises(InputError, match=r"a\.json cannot be written \(a file has the name of its folder\)"):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(InputError, match=r"a\.json cannot be written \(a file has the name of its folder\)"):
        write_json(tmp_path / "file" / "deep" / "a.json", {})
    no_space = pytest.raises(InputError, match=r"a\.json cannot be written \(No space left on device\); make room")
    with no_space, atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "folder.json" / "kept").is_dir()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room for it"),
        (errno.EDQUOT, "make room for it"),
        (errno.EACCES, "get the right to write there, or choose another place"),
        (errno.EROFS, "get the right to write there, or choose another place"),
        (errno.ENAMETOOLONG, "give it a shorter name"),
        (errno.EIO, "put that right"),
    ],
)
def test_the_advice_is_that_of_what_stood_in_the_way(tmp_path: Path, number: int, advice: str) -> None:
    said = rf"cannot be written \({re.escape(os.strerror(number))}\); {advice} and run this again\.$"
    with pytest.raises(InputError, match=said), atomic_path(tmp_path / "a.json"):
        raise OSError(number, os.strerror(number))


@pytest.mark.skipif(sys.platform == "win32", reason="names are counted otherwise")
@pytest.mark.parametrize("name", ["x" * 240 + ".txt", "é" * 125 + ".json", "y" * 255, "Mr. " + "z" * 251])
def test_the_longest_names_are_written_and_what_is_left_of_them_is_swept(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("whole")
        with atomic_path(tmp_path / f"w{name[1:]}") as other:  # of another file at the same time
            other.write_text("another")
        assert temporary.name.endswith(Path(name).suffix) or len(Path(name).suffix) > 200
    assert (tmp_path / name).read_text() == "whole" and (tmp_path / f"w{name[1:]}").read_text() == "another"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / temporary.name.replace(f".{os.getpid()}.", f".{dead.pid}.")
    left.write_text("half")
    os.utime(left, (1, 1))
    assert sweep_temporary(tmp_path) == 1 and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(InputError, match="give it a shorter name"):
        write_json(tmp_path / f"{name}{'é' * 128}", {})


def test_a_durable_write_is_on_the_disk_before_and_after_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        steps.append("named" if (tmp_path / "a.json").exists() else "not yet named")

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "b.json", {})
    assert steps == []
    write_json(tmp_path / "a.json", {}, durable=True)
    assert steps == ["file", "not yet named", "folder", "named"]


def test_only_old_temporary_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    day = 24 * 3600

    def left(name: str, age: float) -> Path:
        path = tmp_path / "run" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        os.utime(path, (time.time() - age, time.time() - age))
        return path

    gone = [left(f".weights.{dead.pid}.writing.pt", day), left(f".no suffix.{dead.pid}.writing", day)]
    kept = [
        left(f".recent.{dead.pid}.writing.pt", 60),
        left(f".alive.{os.getpid()}.writing.pt", day),
        *(left(name, day) for name in (".mine.2024.txt", "a.1.writing.pt", ".b.writing.pt", ".c.x1.writing.pt", "d")),
    ]
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "e.json") as temporary:
        pattern = temporary.name.replace(str(os.getpid()), str(dead.pid))
        gone.append(left(pattern, day))
        raise RuntimeError
    assert sweep_temporary(tmp_path) == len(gone)
    assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)


@dataclass(frozen=True)
class Recipe:
    width: Annotated[int, Field(ge=1, le=100)]
    name: str = "x"
    sizes: tuple[int, ...] = ()


def test_json_is_read_as_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    write_json(path, {"width": 7, "sizes": [1, 2]})
    assert read_as(Recipe, path, "notebook 04") == Recipe(7, sizes=(1, 2))
    for content, said in {
        '{"width": 1000000000}': r"width: Input should be less than or equal to 100",
        '{"width": "7"}': r"width: Input should be a valid integer",
        '{"width": true}': r"width: Input should be a valid integer",
        '{"width": 7, "sizes": [1, 2.5]}': r"sizes\.1: Input should be a valid integer",
        "{}": r"width: Field required",
        "[]": r"Input should be an object",
        '{"width": ': r"Invalid JSON: EOF",
        "[" * 100_000: r"Invalid JSON: recursion limit",
        '{"width": 1' + "0" * 10_000 + "}": r"Invalid JSON: number out of range",
        "\udc80": r"Invalid JSON",
    }.items():
        path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(InputError, match=rf"recipe\.json cannot be used \({said}.*run notebook 04 again"):
            read_as(Recipe, path, "notebook 04")
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(path)
    for read in (read_json, partial(read_as, Recipe)):
        with pytest.raises(InputError, match=r"gone\.json does not exist; run notebook 04 first"):
            read(tmp_path / "gone.json", made_by="notebook 04")
        with pytest.raises(InputError, match=r"cannot be read \(it is a folder\)"):
            read(tmp_path, made_by="notebook 04")


def test_an_array_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.float32)):
        np.save(path, array)
        np.testing.assert_array_equal(load_array(path, "notebook 02"), array)
    np.save(path, np.arange(6.0))
    whole = path.read_bytes()
    header = b"\x93NUMPY\x01\x00v\x00"
    damaged = [whole[:100], whole[:-8], b"", b"PK\x03\x04", header + b"(" * 118, header + b"{'descr': '|O'}".ljust(118)]
    damaged += [whole.replace(b"(6,), }", b"(-6,),}"), whole.replace(b"(6,), }  ", b"(9**99,),}"[:9])]
    damaged += [whole.replace(b"'<f8'", b"'|O' ")]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npy is no readable array .*run notebook 02 again"):
            load_array(path, "notebook 02")
    long = b"{'" + b"no such key " * 40 + b"': 1}"  # which the reason quotes
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(long).to_bytes(2, "little") + long)
    with pytest.raises(InputError, match=r"\(.{,199}…\); delete it"):
        load_array(path, "notebook 02")
    with pytest.raises(InputError, match="does not exist"):
        load_array(tmp_path / "gone.npy", "notebook 02")
    with pytest.raises(InputError, match="is a folder"):
        load_array(tmp_path, "notebook 02")


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    assert digest(path) == hashlib.sha256(b"old").digest()
    path.write_bytes(b"new")  # as long, and perhaps in the same tick of the file system's clock
    assert digest(path) == hashlib.sha256(b"new").digest()
    os.utime(path, (1e9, 1e9))
    digest(path)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert digest(path) == hashlib.sha256(b"new").digest()
    path.write_bytes(b"era")
    assert digest(path) == hashlib.sha256(b"era").digest()


def test_a_reserved_file_has_all_its_blocks_before_anything_is_written(tmp_path: Path) -> None:
    array = reserved_memmap(tmp_path / "a.npy", np.float16, (300, 1000))
    assert not array.any() and array.shape == (300, 1000)
    status = (tmp_path / "a.npy").stat()
    assert 512 * getattr(status, "st_blocks", status.st_size) >= status.st_size > 600_000
    array[7] = 3
    array.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy").sum(1)[:9], [0] * 7 + [3000, 0])


def test_a_reserved_file_is_the_same_where_it_has_to_be_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved_memmap(tmp_path / "a.npy", np.float32, (30, 10))
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    reserved_memmap(tmp_path / "b.npy", np.float32, (30, 10))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_no_room_is_said_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"Features need 1,000,000.0 GB in .* are free there"):
        check_space(tmp_path / "not yet there", 10**15, "features")
    with pytest.raises(InputError, match=r"or choose another place with outputs_dir\.$"):
        check_space(tmp_path, 10**15, "features")
    with pytest.raises(InputError, match=r"or choose another place with data_dir\.$"):
        check_space(tmp_path, 10**15, "photos", "data_dir")
    check_space(tmp_path, 2_500_000, "features")
    check_space(tmp_path, 0, "features")  # they are there
    assert re.fullmatch(r"Features take 2\.5 MB of the disk; [\d.,]+ GB are free\.\n", capsys.readouterr().out)

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"a\.npy needs 0.0 MB and could not be written \(No space left"):
        reserved_memmap(tmp_path / "a.npy", np.float32, (3, 3))
    assert list(tmp_path.iterdir()) == []


def test_all_missing_inputs_are_named_with_the_notebooks_that_write_them(tmp_path):
    (tmp_path / "there").touch()
    require(tmp_path, {"there": "01_download"})
    files = {"a/x": "05_openvino", "there": "01_download", "y": "03a_caption_lstm", "z": "05_openvino"}
    with pytest.raises(InputError) as caught:
        require(tmp_path, files)
    assert str(caught.value) == (
        f"{tmp_path} has no a/x and no y and no z; run 03a_caption_lstm and 05_openvino first, then this notebook."
    )


def test_files_that_are_being_written_are_not_among_those_that_are_there(tmp_path: Path) -> None:
    for name in ("b.json", "a/c.json"):
        write_json(tmp_path / name, {})
    with atomic_path(tmp_path / "a" / "half.json") as temporary:
        temporary.write_text("{", encoding="utf-8")
        assert written_files(tmp_path, "*.json") == [tmp_path / "a" / "c.json", tmp_path / "b.json"]
    assert [path.name for path in written_files(tmp_path, "*.json")] == ["c.json", "half.json", "b.json"]


def test_what_is_written_out_is_on_the_disk_and_in_memory_no_longer(tmp_path: Path) -> None:
    array = reserved_memmap(tmp_path / "a.npy", np.float32, (64, 2**18))
    array[:] = np.arange(64, dtype=np.float32)[:, None]
    held = psutil.Process().memory_info().rss
    write_out(array)
    if sys.platform == "linux":
        assert held - psutil.Process().memory_info().rss > 0.9 * array.nbytes  # 67 MB
    assert (np.load(tmp_path / "a.npy")[:, -1] == np.arange(64)).all()
    array[7] = 1  # and goes on
    write_out(array)
    assert np.load(tmp_path / "a.npy", mmap_mode="r")[7].sum() == 2**18 and array[8, 0] == 8


def test_an_exception_is_told_in_its_first_line() -> None:
    assert first_line(ValueError("No such thing.\nTraceback")) == "No such thing"
    assert first_line(OSError()) == "OSError" and first_line(RuntimeError(" \n ")) == "RuntimeError"
    long = "it wanted " + "a word " * 60
    assert first_line(ValueError(long)) == " ".join(long[:300].split()[:-1]) + " …"
    assert first_line(ValueError("x " * 145 + "'a name that goes on and on'")) == "x " * 145 + "…"
    with pytest.raises(OSError, match=r"is the disk full\? RuntimeError"), native_write():
        raise RuntimeError


def test_a_command_that_is_interrupted_says_what_it_does_the_next_time(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert exit_status(interrupted) == 130
    assert exit_status(interrupted, "begins again") == 130
    assert capsys.readouterr().err.splitlines() == [
        "Interrupted; the same command goes on from here.",
        "Interrupted; the same command begins again.",
    ]


MANY = "import sys\nfrom helpers.files import exit_status\nsys.exit(exit_status(lambda: print('a line\\n' * {})))"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command", [["-c", MANY.format(2)], ["-c", MANY.format(100_000)], ["run_all.py", "--list"]], ids=str
)
def test_a_command_whose_output_nobody_reads_ends_quietly(command: list[str], unbuffered: str) -> None:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=project_root(),
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # as `head` does when it has seen enough
    assert process.communicate(timeout=60)[1] == b"" and process.returncode == 128 + signal.SIGPIPE


def test_another_pipe_that_breaks_is_told() -> None:
    def work() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        exit_status(work)


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii:strict"])
def test_a_name_that_the_output_cannot_hold_stops_no_command(encoding: str) -> None:
    code = "import sys; from helpers.files import exit_status; "
    code += "sys.exit(exit_status(lambda: print('\\u65e5\\u672c.jpg \\udcff.jpg')))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root(),
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert (ended.returncode, ended.stderr) == (0, b"") and ended.stdout.strip().endswith(rb" \udcff.jpg")


@pytest.mark.parametrize("blank", ["", "  "])
def test_no_option_may_be_blank(blank: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Options(prog="a command")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    for words in ([blank], [".", "--model", blank], [".", f"--model={blank}"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(words)
        assert "it is blank (a variable that is not set?); give it a value" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([".", "--mod", "clip"])  # cut short
    given = parser.parse_args(["~/photos"])
    assert given.folder == Path.home() / "photos" and given.model is None


def test_a_command_whose_output_was_closed_from_the_start_does_its_work() -> None:
    code = "import sys; from helpers.files import exit_status; sys.exit(exit_status(lambda: print('done')))"
    command = f"{shlex.join([sys.executable, '-c', code])} >&-"
    ended = subprocess.run(["sh", "-c", command], cwd=project_root(), stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_goes_away_while_one_looks_is_passed_over(tmp_path: Path) -> None:
    """As where an album is made beside `run_all.py --list`."""
    write_json(tmp_path / "kept" / "a.json", {})
    (tmp_path / "kept" / f".b.{os.getpid()}.writing.json").touch()
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"folder {number}").mkdir()
            for number in range(20):
                (tmp_path / f"folder {number}").rmdir()

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(come_and_go)
        try:
            for _ in range(200):
                assert below(tmp_path) == written_files(tmp_path, "*.json") == [tmp_path / "kept" / "a.json"]
                assert sweep_temporary(tmp_path) == 0
        finally:
            done.set()
        working.result()
