"""Checksums: damage of every kind is noticed, what several notebooks seal stays sealed, and old runs still load."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import artefacts, files
from helpers.artefacts import CHECKSUMS, check, seal
from helpers.files import InputError, digest


def written(folder: Path, **contents: bytes) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


def test_a_seal_says_what_anyone_can_compute(tmp_path: Path) -> None:
    written(tmp_path, a=b"one", b=b"two")
    seal(tmp_path, "b", "a")
    noted = json.loads((tmp_path / CHECKSUMS).read_text())
    assert list(noted) == ["a", "b"]
    assert noted["a"]["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert f"torch {torch.__version__.split('+')[0]}" in noted["a"]["made_with"]


def test_whatever_happens_to_a_file_is_noticed(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(5000)
    (path,) = written(tmp_path, a=content)
    seal(tmp_path, "a")
    check("notebook 03", path)
    rng = np.random.default_rng(1)
    damaged = [b"", content[:-1], content + b"\0", content[::-1]]
    for _ in range(60):
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for other in damaged:
        path.write_bytes(other)
        with pytest.raises(InputError, match=r"a is not as it was written: .*; delete it and run notebook 03 again"):
            check("notebook 03", path)
        path.write_bytes(content)
        check("notebook 03", path)
    path.unlink()
    with pytest.raises(InputError, match="a does not exist; run notebook 03 first"):
        check("notebook 03", path)


def test_each_writer_seals_its_own_files(tmp_path: Path) -> None:
    weights, graph = written(tmp_path, weights=b"w", graph=b"g")
    seal(tmp_path, "weights")
    seal(tmp_path, "graph")
    weights.write_bytes(b"x")
    seal(tmp_path, "graph")
    check("notebook 05", graph)
    with pytest.raises(InputError, match="weights is not as it was written"):
        check("notebook 03", weights)
    weights.unlink()
    seal(tmp_path, "graph")
    assert list(json.loads((tmp_path / CHECKSUMS).read_text())) == ["graph"]


def test_files_of_an_earlier_version_are_used_with_one_notice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    artefacts._notice.cache_clear()
    first, second = written(tmp_path / "one", a=b"a", b=b"b")
    (other,) = written(tmp_path / "other", c=b"c")
    seal(tmp_path / "one", "b")
    check("notebook 03", first, second, other)
    assert capsys.readouterr().out.count("of an earlier version, which wrote no checksums") == 1


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"sha256": 1, "made_with": ""}}', "[" * 9999])
def test_damaged_checksums_are_one_sentence(tmp_path: Path, content: str) -> None:
    (path,) = written(tmp_path, a=b"a")
    (tmp_path / CHECKSUMS).write_text(content)
    with pytest.raises(InputError, match=r"checksums\.json cannot be used .*; delete it and run"):
        check("notebook 03", path)
    with pytest.raises(InputError, match=r"checksums\.json cannot be used .*; delete it and run"):
        seal(tmp_path, "a")


def test_a_file_is_read_once_however_often_it_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = written(tmp_path, a=b"a")
    monkeypatch.setattr(files, "_BRIEF", -1)  # as if it were old
    seal(tmp_path, "a")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", None)
        patch.setattr(artefacts, "read_as", lambda *_: {"a": artefacts.Seal(digest(path).hex(), "")})
        check("notebook 03", path)


def test_of_large_files_blocks_are_looked_at_from_the_first_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK", 10)
    content = bytes(range(200))
    (path,) = written(tmp_path, a=content)
    blocks = [content[start : start + 10] for start in (0, 63, 126, 190)]
    assert digest(path, 4) == hashlib.sha256(b"200" + b"".join(blocks)).digest()
    assert digest(path, 20) == digest(path) == hashlib.sha256(content).digest()
    before = digest(path, 4)
    for place in (0, 70, 199):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        assert digest(path, 4) != before
    path.write_bytes(content + b"\0")
    assert digest(path, 4) != before
