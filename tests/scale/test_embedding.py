"""Embedding in one process, against the model asked directly, killed in the middle, and after every kind of change."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scale.many_photos import COUNT, caption, photos_of, write_folder, write_parquet, write_tars
from tiny_run import draw_photo

from helpers.data.images import load_photo, resize_photo
from helpers.environment import project_root
from helpers.files import InputError, written_files
from helpers.scale import embedding
from helpers.scale.__main__ import main
from helpers.scale.embedded import Embedded
from helpers.scale.embedder import Recipe
from helpers.scale.embedding import embed
from helpers.search.engine import PhotoSearch

HALF = 3e-4  # how far a number below 1 may be off in 16 bits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("many") / "photos")


def rows_of(out: Path) -> dict[str, dict]:
    """Every row by its id, read by Parquet's reader; no id may come twice."""
    rows = [row for path in written_files(out / "vectors", "*.parquet") for row in pq.read_table(path).to_pylist()]
    assert not [id_ for id_, count in Counter(row["id"] for row in rows).items() if count > 1]
    return {row["id"]: row for row in rows}


def expected_vectors(run: Path, paths: list[Path], side: int = 32) -> np.ndarray:
    """What the model makes of photos, asked directly; JPEGs are decoded no smaller than `side`."""
    pair = PhotoSearch(run).pair("scratch")
    return pair.embed_photos(np.stack([resize_photo(load_photo(path, side), pair.photo_size) for path in paths]))


def test_vectors_sizes_and_captions_are_those_of_the_models_asked_directly(
    folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    recipe = Recipe(tiny_run, "scratch", captioner="attention", numbers="float32")
    tally = embed(folder, tmp_path / "out", recipe, shard_size=10)
    rows, paths = rows_of(tmp_path / "out"), photos_of(folder)
    assert list(rows) == [path.relative_to(folder).as_posix() for path in paths] and len(rows) == COUNT
    np.testing.assert_allclose(
        [row["vector"] for row in rows.values()], expected_vectors(tiny_run, paths, side=320), atol=1e-6
    )
    for path, row in zip(paths, rows.values(), strict=True):
        image = Image.open(path)
        turned = image.getexif().get(0x0112) == 6
        assert (row["width"], row["height"]) == (image.size[::-1] if turned else image.size)
        assert row["label"] == path.parent.name and row["split"] == path.parent.parent.name
    assert sum(row["height"] > row["width"] for row in rows.values()) == 1
    engine = PhotoSearch(tiny_run)
    assert [row["caption"] for row in rows.values()][:3] == [engine.caption(load_photo(path)) for path in paths[:3]]
    photos = Embedded(tmp_path / "out")
    assert (len(photos), photos.width) == (COUNT, 20) and photos.fingerprint == f"{engine.fingerprint('scratch')}-fp32"
    rejects = {row["id"]: row["reason"] for row in photos.rejects().to_pylist()}
    assert rejects.keys() == {"notes.txt", "test/cat/torn.jpg"} and rejects["notes.txt"] == "not an image"
    assert rejects["test/cat/torn.jpg"].startswith("cannot be read as a photo")
    assert (tally.photos, tally.made, tally.there, tally.reasons.total()) == (COUNT, 3, 0, 2)


def test_folder_tars_and_parquet_give_the_same_vectors_and_16_bits_nearly_so(
    folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    paths = photos_of(folder)
    sources = {
        "folder": folder,
        "tars": write_tars(paths, tmp_path / "tars"),
        "parquet": write_parquet(paths, tmp_path / "parquet"),
    }
    expected = {int(path.stem): vector for path, vector in zip(paths, expected_vectors(tiny_run, paths), strict=True)}
    for kind, source in sources.items():
        embed(source, tmp_path / f"out-{kind}", Recipe(tiny_run, "scratch"))
        rows = rows_of(tmp_path / f"out-{kind}")
        assert len(rows) == COUNT
        for id_, row in rows.items():
            number = int(Path(id_).stem)
            np.testing.assert_allclose(row["vector"], expected[number], atol=HALF)
            assert row["caption"] == (None if kind == "folder" else caption(number))


def test_a_second_time_nothing_is_made_and_what_changed_is_made_again(tiny_run: Path, tmp_path: Path) -> None:
    folder, out, recipe = write_folder(tmp_path / "photos"), tmp_path / "out", Recipe(tiny_run, "scratch")

    def again(recipe: Recipe = recipe) -> list[str]:
        times = {path: path.stat().st_mtime_ns for path in (out / "vectors").iterdir()} if out.exists() else {}
        embed(folder, out, recipe, shard_size=10)
        now = {path: path.stat().st_mtime_ns for path in (out / "vectors").iterdir()}
        assert not list(out.rglob(".*writing*"))
        return sorted(path.stem for path in now if now[path] != times.get(path))

    every = ["part-00000", "part-00001", "part-00002"]
    assert again() == every
    before = rows_of(out)
    assert again() == []
    draw_photo(folder / "train/dog/21.jpg", 99)
    assert again() == ["part-00002"]
    vectors = expected_vectors(tiny_run, [folder / "train/dog/21.jpg"])
    np.testing.assert_allclose(rows_of(out)["train/dog/21.jpg"]["vector"], vectors[0], atol=HALF)
    (out / "vectors" / "part-00001.parquet").write_bytes(b"damaged")
    assert again() == ["part-00001"]
    for path in photos_of(folder)[-6:]:
        path.unlink()
    assert again() == ["part-00001", "part-00002"] or len(rows_of(out)) == COUNT - 6
    assert rows_of(out).keys() < before.keys() and len(rows_of(out)) == COUNT - 6
    assert again(Recipe(tiny_run, "scratch", numbers="float32")) == sorted(
        path.stem for path in (out / "vectors").iterdir()
    )
    Image.new("RGB", (9, 9)).save(folder / "test/cat/torn.jpg")  # what was rejected is a photo now
    embed(folder, out, recipe, shard_size=10)
    assert [row["id"] for row in Embedded(out).rejects().to_pylist()] == ["notes.txt"]


def offered(message: object) -> list[list[str]]:
    """The commands in a message, as a shell would hand them to the program."""
    return [shlex.split(one)[3:] for one in re.findall(r"`(python -m helpers\.scale [^`]+)`", str(message))]


def test_what_other_models_made_is_overwritten_only_when_that_is_asked_for(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_folder(tmp_path / "my photos"), tmp_path / "out"
    first, second = Recipe(tiny_run, "scratch"), Recipe(tiny_run, "pretrained")
    embed(folder, out, first, shard_size=10)
    there = {path: path.stat().st_mtime_ns for path in (out / "vectors").iterdir()}
    mine, other = (f"{PhotoSearch(tiny_run).fingerprint(name)}-fp32" for name in ("scratch", "pretrained"))
    asked = ["embed", str(folder), str(out), *shlex.split(first.options), "--shard-size", "10"]
    with pytest.raises(InputError) as caught:
        embed(folder, out, second)  # with shards of another size, too
    begin = f"3 of 3 shards in {out} were made by another model ({mine}) than the one in use ({other}); go on with "
    assert str(caught.value).startswith(f"{begin}that one by `") and offered(caught.value) == [asked]
    assert str(caught.value).endswith("`, or add --anew to make them again with this one.")
    with pytest.raises(InputError, match=r"made by another captioner \(none\) than the one in use") as caught:
        embed(folder, out, Recipe(tiny_run, "scratch", captioner="attention"))
    assert offered(caught.value) == [asked]
    assert {path: path.stat().st_mtime_ns for path in (out / "vectors").iterdir()} == there
    capsys.readouterr()
    assert main(offered(caught.value)[0]) == 0
    assert capsys.readouterr().out.startswith(f"{COUNT} photos in 3 shards: 0 made now, 3 were there;")

    def stopped(shards, *_, **__):
        yield from islice(shards, 1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedding, "progress", stopped)
        with pytest.raises(KeyboardInterrupt):
            embed(folder, out, second, shard_size=10, anew=True)
    said = "3 shards are there, of another model or of other photos or numbers, and are made again.\n"
    assert capsys.readouterr().out == said
    with pytest.raises(InputError, match=r"Two models made the vectors in .*; for all to be of one, run `") as caught:
        Embedded(out)
    new = ["embed", str(folder), str(out), *shlex.split(second.options), "--shard-size", "10"]
    assert sorted(offered(caught.value)) == sorted([[*asked, "--anew"], [*new, "--anew"]])
    with pytest.raises(InputError, match=r"2 of 3 shards in .* were made by another model"):
        embed(folder, out, second, shard_size=10)
    assert main([*new, "--anew"]) == 0
    assert "2 made now, 1 were there" in capsys.readouterr().out
    assert (Embedded(out).fingerprint, Embedded(out).options) == (other, second.options)
    (out / "vectors" / "part-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"1 of 3 shards are not in .* yet; run `") as caught:
        Embedded(out)
    assert offered(caught.value) == [new] and main(new) == 0


def test_shards_of_a_model_that_was_trained_again_and_of_earlier_versions_are_known(
    tiny_run: Path, tmp_path: Path
) -> None:
    folder, out, recipe = write_folder(tmp_path / "photos"), tmp_path / "out", Recipe(tiny_run, "scratch")
    embed(folder, out, recipe)
    path = out / "vectors" / "part-00000.parquet"
    whole, facts = pq.read_table(path), pq.read_schema(path).metadata
    pq.write_table(whole.replace_schema_metadata(facts | {b"fingerprint": b"before", b"made_from": b"x"}), path)
    with pytest.raises(
        InputError, match=r"another model \(before\).*; it was trained again since: add --anew"
    ) as caught:
        embed(folder, out, recipe)
    assert offered(caught.value) == []
    earlier = {name: facts[name] for name in (b"fingerprint", b"made_from")}
    pq.write_table(whole.replace_schema_metadata(earlier), path)
    (out / "embedding.json").write_text(f'{{"source": "{folder}", "shards": ["part-00000"]}}')
    with pytest.raises(InputError, match=r"by `python -m helpers\.scale embed .* --run … --model …`, or add --anew"):
        embed(folder, out, Recipe(tiny_run, "pretrained"))
    assert Embedded(out).options is None and embed(folder, out, recipe).there == 1


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "helpers.scale", *map(str, arguments)]


def test_killed_at_any_moment_it_goes_on_and_every_photo_is_there_once(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for number in range(120):
        draw_photo(folder / f"{number:03d}.jpg", number)
    out = tmp_path / "out"
    # Captions take long enough for it to be killed in the middle.
    asked = command(
        "embed", folder, out, "--run", tiny_run, "--model", "scratch", "--captioner", "attention", "--shard-size", 10
    )
    process = subprocess.Popen(asked, cwd=project_root(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(written_files(out / "vectors", "*.parquet")) < 4:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = {path.name: path.stat().st_mtime_ns for path in written_files(out / "vectors", "*.parquet")}
    assert 4 <= len(there) < 12
    with pytest.raises(InputError, match=r"of 12 shards are not in .* yet"):
        Embedded(out)
    tally = embed(folder, out, Recipe(tiny_run, "scratch", captioner="attention"), shard_size=10)
    assert (tally.photos, tally.there, tally.made) == (120, len(there), 12 - len(there))
    assert all((out / "vectors" / name).stat().st_mtime_ns == time_ for name, time_ in there.items())
    rows = rows_of(out)
    assert sorted(rows) == [f"{number:03d}.jpg" for number in range(120)] and not list(out.rglob(".*writing*"))
    expected = expected_vectors(tiny_run, [folder / id_ for id_ in rows], side=320)
    np.testing.assert_allclose([row["vector"] for row in rows.values()], expected, atol=HALF)


def test_what_is_wrong_is_one_sentence(folder: Path, tiny_run: Path, tmp_path: Path) -> None:
    recipe, out = Recipe(tiny_run, "scratch"), tmp_path / "out"
    embed(folder, out, recipe)
    other = write_tars(photos_of(folder), tmp_path / "tars")
    for source, place, with_, said in (
        (other, out, recipe, "holds photos of .*, and not of"),
        (folder, folder / "out", recipe, "where its files would be taken for photos"),
        (folder, out, Recipe(tiny_run, "nothing"), "no model 'nothing'"),
        (folder, out, Recipe(tiny_run, "scratch", precision="int8"), "There is no precision 'int8'"),
        (folder, out, Recipe(tiny_run, "scratch", captioner="poet"), "no captioner 'poet'"),
        (folder, out, Recipe(tmp_path, "scratch"), "run notebook 01_download first"),
    ):
        with pytest.raises(InputError, match=said):
            embed(source, place, with_)
    with pytest.raises(InputError, match="does not exist"):
        Embedded(tmp_path)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "a.jpg").write_bytes(b"no photo")
    embed(torn, tmp_path / "none", recipe)
    with pytest.raises(InputError, match=r"No photo of .* could be read"):
        Embedded(tmp_path / "none")
