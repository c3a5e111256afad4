"""Checksums: damage of every kind is noticed, what several notebooks seal stays sealed, and old runs still load."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import artefacts, files
from helpers.artefacts import CHECKSUMS, check, intact, seal
from helpers.environment import project_root
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


def test_what_is_made_again_is_said_with_the_reason_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = written(tmp_path, a=b"one")
    seal(tmp_path, "a")
    assert intact(path) and capsys.readouterr().out == ""
    path.write_bytes(b"two")
    assert not intact(path)
    path.unlink()
    assert not intact(path)
    assert capsys.readouterr().out.splitlines() == [
        f"{path} is not as it was written: it is damaged, or from another run. It is made again now.",
        f"{path} does not exist. It is made again now.",
    ]


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


@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file as only POSIX can")
def test_a_full_disk_is_one_sentence_whichever_library_writes(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import torch
from helpers.deploy.export import save
from helpers.files import InputError
from helpers.graphs import convert
from helpers.search.index import SearchIndex
from helpers.training.checkpoints import save_tensors

layer, folder = torch.nn.Linear(100, 500), Path(sys.argv[1])
graph = convert(layer, layer, (torch.zeros(1, 100),))
index = SearchIndex(16)
index.add([str(row) for row in range(2000)], np.random.rand(2000, 16))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (100_000, 130_000):  # below the vectors of the index, and between them and FAISS's file
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, 130_000))
    for write in (
        lambda: save_tensors(folder / "weights.pt", layer.state_dict()),
        lambda: save(graph, folder / "graph.xml"),
        lambda: index.save(folder / "index"),
    ):
        try:
            write()
        except InputError as error:
            print(error)
"""
    run = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=project_root(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said = run.stdout.splitlines()
    names = 2 * ["weights.pt", "graph.bin", "index/"]
    assert len(said) == 6 and all(name in line for name, line in zip(names, said, strict=True)), run.stdout
    assert all("cannot be written (" in line and "make room for it" in line for line in said)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["embeddings.npy"]  # whole, the second time


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
