"""CLIP and its kin on OpenVINO: the vectors of the PyTorch model, converted once and kept."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_data import write_photo
from tiny_models import TEXTS, save_tiny_model
from tiny_run import export_floats

from helpers.data.images import load_photo
from helpers.deploy import clip
from helpers.deploy.clip import openvino_clip
from helpers.encoders.clip import ClipPair, load_clip
from helpers.files import InputError, write_json
from helpers.graphs import PRECISIONS


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    sizes = rng.integers(20, 200, (12, 2))
    return [
        write_photo(folder / f"{row}.png", tuple(rng.integers(0, 256, 3).tolist()), tuple(size.tolist()))
        for row, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_every_precision_gives_the_vectors_of_pytorch(kind: str, photos: list[Path], tmp_path: Path) -> None:
    source, home = save_tiny_model(kind, tmp_path / "model"), tmp_path / "kept"
    plain = load_clip(str(source))
    squares = np.stack([plain.square(load_photo(path)) for path in photos])
    for precision, least in zip(PRECISIONS, (0.99999, 0.9999, 0.98), strict=True):
        pair = openvino_clip(str(source), home, photos, precision)
        assert (pair.photo_size, pair.fingerprint, pair.name) == (plain.photo_size, plain.fingerprint, str(source))
        np.testing.assert_array_equal(np.stack([pair.square(load_photo(path)) for path in photos]), squares)
        alike = (pair.embed_photos(squares) * plain.embed_photos(squares)).sum(1)
        assert alike.min() > least and alike.max() < 1.0001
        for texts in (TEXTS, TEXTS[:1], TEXTS[1:3]):
            assert (pair.embed_texts(texts) * plain.embed_texts(texts)).sum(1).min() > least


@pytest.fixture
def without_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantising takes longer than all else here."""
    monkeypatch.setattr(clip, "export", export_floats)


@pytest.mark.usefixtures("without_8_bits")
def test_it_is_converted_once_and_again_where_the_folder_has_changed(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, home = save_tiny_model("clip", tmp_path / "model"), tmp_path / "kept"
    loaded = []
    monkeypatch.setattr(clip, "load_clip", lambda *given: loaded.append(given) or load_clip(*given))
    first = openvino_clip(str(source), home, photos)
    assert openvino_clip(str(source), home, photos).fingerprint == first.fingerprint and len(loaded) == 1
    save_tiny_model("siglip", source)
    second = openvino_clip(str(source), home, photos)
    assert second.fingerprint != first.fingerprint and len(loaded) == 2
    shutil.rmtree(source)  # what is kept does without it
    third = openvino_clip(str(source), home, photos)
    np.testing.assert_array_equal(third.embed_texts(TEXTS), second.embed_texts(TEXTS))
    assert len(loaded) == 2


@pytest.mark.usefixtures("without_8_bits")
def test_a_conversion_that_is_cut_off_leaves_nothing(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, home = save_tiny_model("clip", tmp_path / "model"), tmp_path / "kept"

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(clip, "write_json", cut_off)
        openvino_clip(str(source), home, photos)
    assert list(home.iterdir()) == []
    beginning: list[str] = []

    def full(path: Path, *_: object) -> None:
        beginning.append(path.parent.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said = pytest.raises(InputError, match=r"model cannot be written \(No space left on device\); make room")
    with monkeypatch.context() as patch, said:
        patch.setattr(clip, "write_json", full)
        openvino_clip(str(source), home, photos)
    assert list(home.iterdir()) == []
    # One that was killed leaves what the next one sweeps away.
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = home / beginning[0].replace(str(os.getpid()), str(dead.pid))
    left.mkdir()
    os.utime(left, (1e9, 1e9))
    openvino_clip(str(source), home, photos)
    (kept,) = home.iterdir()
    assert not kept.name.startswith(".")


@pytest.fixture
def of_another(photos: list[Path], tmp_path: Path, without_8_bits: None) -> Path:
    """A model, converted by another process into the folder "other"."""
    source = save_tiny_model("clip", tmp_path / "model")
    openvino_clip(str(source), tmp_path / "other", photos)
    return source


def test_one_that_another_process_has_made_meanwhile_is_taken(
    of_another: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(path: Path, content: object) -> None:
        write_json(path, content)
        shutil.copytree(tmp_path / "other", tmp_path / "kept", dirs_exist_ok=True)

    monkeypatch.setattr(clip, "write_json", too_late)
    assert openvino_clip(str(of_another), tmp_path / "kept", photos).embed_texts(TEXTS).shape[0] == len(TEXTS)


def test_one_that_another_process_has_made_before_it_begins_is_not_made_again(
    of_another: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: str) -> ClipPair:
        shutil.copytree(tmp_path / "other", tmp_path / "kept")
        return load_clip(*arguments)

    monkeypatch.setattr(clip, "load_clip", slowly)
    monkeypatch.setattr(clip, "_convert", None)
    assert openvino_clip(str(of_another), tmp_path / "kept", photos).embed_texts(TEXTS).shape[0] == len(TEXTS)


@pytest.mark.usefixtures("without_8_bits")
def test_names_that_look_alike_are_two_models(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {name: save_tiny_model(name, tmp_path / name) for name in ("clip", "siglip")}
    named = {"acme/vit-b": "clip", "acme-vit/b": "siglip", "acme--vit/b": "clip", "acme/vit--b": "siglip"}
    monkeypatch.setattr(clip, "load_clip", lambda name, _: load_clip(str(sources[named[name]])))
    found = {name: openvino_clip(name, tmp_path / "kept", photos) for name in named}
    assert [pair.name for pair in found.values()] == list(named)
    for name, pair in found.items():
        assert pair.fingerprint == load_clip(str(sources[named[name]])).fingerprint


@pytest.mark.usefixtures("without_8_bits")
def test_what_is_damaged_is_converted_anew_and_mistakes_are_one_sentence(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, home = save_tiny_model("clip", tmp_path / "model"), tmp_path / "kept"
    with pytest.raises(InputError, match=r"no precision 'int4'; choose one of: fp32"):
        openvino_clip(str(source), home, photos, "int4")
    with pytest.raises(InputError, match=r"could not be loaded: .*--model pretrained"):
        openvino_clip(str(tmp_path / "nothing"), home, photos)
    expected = openvino_clip(str(source), home, photos).embed_texts(TEXTS)
    (kept,) = home.iterdir()
    config = json.loads((kept / "config.json").read_text())
    for file, content in [
        ("text_encoder.xml", "torn"),
        ("config.json", '{"name": '),
        ("config.json", "[]"),
        ("config.json", json.dumps({"source": config["source"]})),
        ("config.json", json.dumps(config | {"text_length": config["text_length"] + 1})),
    ]:
        (kept / file).write_text(content)
        capsys.readouterr()
        np.testing.assert_array_equal(openvino_clip(str(source), home, photos).embed_texts(TEXTS), expected)
        assert "is converted to OpenVINO, once" in capsys.readouterr().out
    (kept / "processors" / "tokenizer.json").write_text("torn")
    with pytest.raises(
        InputError, match=rf"could not be loaded: .*, or delete {re.escape(str(kept))} and run this again"
    ):
        openvino_clip(str(source), home, photos)
