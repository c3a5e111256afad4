"""The command from a shell: embed, index with both engines, search; and one sentence for what is missing or wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scale.many_photos import COUNT, photos_of, write_folder, write_tars
from scale.test_embedding import expected_vectors

from helpers.environment import project_root
from helpers.scale.__main__ import main
from helpers.search.engine import PhotoSearch


def captions_of(out: str) -> list[str | None]:
    return pq.read_table(Path(out) / "vectors")["caption"].to_pylist()


def test_embed_index_and_search_with_both_engines(tiny_run: Path, tmp_path: Path, capsys) -> None:
    tars = write_tars(photos_of(write_folder(tmp_path / "photos")), tmp_path / "tars")
    out, models = str(tmp_path / "out"), ["--run", str(tiny_run), "--model", "scratch"]
    assert main(["embed", str(tars), out, *models]) == 0
    assert capsys.readouterr().out == f"{COUNT} photos in 3 shards: 3 made now, 0 were there; 0 rejected.\n"
    said = {}
    for place in (str(tmp_path / "index"), str(tmp_path / "index.db")):
        assert main(["index", out, place]) == 0
        assert re.match(rf"{COUNT} photos indexed in [\d.]+ s\.", capsys.readouterr().out)
        assert (
            main(["search", place, "a dog in the snow", "--top", "5", "--label", "cat", "--word", "sea", *models]) == 0
        )
        said[place] = capsys.readouterr().out.splitlines()
        assert main(["search", place, "a dog", "--label", "unicorn", *models]) == 0
        assert capsys.readouterr().out == "No photo is left by the filter.\n"
    faiss_said, milvus_said = said.values()
    assert faiss_said == milvus_said and len(faiss_said) == 5
    query = PhotoSearch(tiny_run).pair("scratch").embed_texts(["a dog in the snow"])[0]
    photos = [path for path in photos_of(tmp_path / "photos") if path.parent.name == "cat"]
    best = max(zip(expected_vectors(tiny_run, photos) @ query, photos, strict=True))
    score, place, caption = re.match(r"(\S+) (\S+)  (.+)", faiss_said[0]).groups()
    assert abs(float(score) - best[0]) < 0.002 and place.endswith(f"/{best[1].stem}") and "in the sea" in caption


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embed", "nowhere", "out"], "nowhere does not exist"),
        (["embed", "nowhere", "out", "--threads", "0"], "--threads is 0, and has to be 1 or more."),
        (["embed", "nowhere", "out", "--profile", "moon"], "moon"),
        (["search", "nowhere", "a dog", "--profile", "sample", "--run", "x"], "--run and --profile both say which run"),
        (["index", "nowhere", "index"], "embedding.json does not exist; run `python -m helpers.scale embed` first."),
        (["search", "nowhere", "a dog", "--word", "two dogs"], "takes one word"),
        (["search", "nowhere.db", "a dog"], "nowhere.db does not exist"),
        (["search", "nowhere", "a dog", "--top", "0"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: list[str], said: str, tiny_run: Path, capsys) -> None:
    if arguments[0] != "index" and "--profile" not in arguments:
        arguments = [*arguments, "--run", str(tiny_run), "--model", "scratch"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_what_is_blank_is_named(capsys) -> None:
    for arguments, name in ((["embed", "", "out"], "source"), (["index", "out", "index", "--model", ""], "--model")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert f"error: argument {name}: it is blank" in capsys.readouterr().err


def test_index_kinds_are_those_of_faiss(tiny_run: Path, tmp_path: Path, capsys) -> None:
    folder, out = write_folder(tmp_path / "photos"), str(tmp_path / "out")
    assert main(["embed", str(folder), out, "--run", str(tiny_run), "--model", "scratch"]) == 0
    assert main(["index", out, str(tmp_path / "a.db"), "--kind", "hnsw"]) == 2
    assert "Milvus chooses its index by itself" in capsys.readouterr().err
    assert main(["index", out, str(tmp_path / "a"), "--kind", "hnsw"]) == 0
    assert "Kind: hnsw; recall of the ten nearest to photos, against exact search: 1.000." in capsys.readouterr().out


def test_where_photos_have_captions_recall_is_measured_with_them(tiny_run: Path, tmp_path: Path, capsys) -> None:
    tars = write_tars(photos_of(write_folder(tmp_path / "photos")), tmp_path / "tars")
    out, models = str(tmp_path / "out"), ["--run", str(tiny_run), "--model", "scratch"]
    assert main(["embed", str(tars), out, *models]) == 0
    assert main(["index", out, str(tmp_path / "a"), "--kind", "hnsw", *models]) == 0
    asked = int(re.search(r"the ten nearest to (\d+) captions, against", capsys.readouterr().out)[1])
    assert asked == len([caption for caption in captions_of(out) if caption is not None])
    assert main(["index", out, str(tmp_path / "b"), "--kind", "hnsw", *models[:2], "--model", "pretrained"]) == 2
    said = capsys.readouterr().err
    assert "are of another model" in said and not (tmp_path / "b").exists()
    assert "--model and --precision, and its run with --profile or --run (they were made with --run" in said


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (["embed", "photos", "out"], "goes on from here"),
        (["index", "out", "index"], "begins again"),
        (["search", "index", "a dog"], "begins again"),
    ],
)
def test_an_interruption_says_whether_anything_is_kept(
    arguments: list[str], again: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("helpers.scale.__main__._do", interrupted)
    assert main(arguments) == 130
    assert capsys.readouterr().err == f"Interrupted; the same command {again}.\n"


def test_without_the_extra_packages_one_sentence_says_how_to_get_them() -> None:
    program = (
        "import sys; from importlib.machinery import PathFinder; find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *rest: None if name in ('ray', 'pymilvus') else find(name, *rest)\n"
        "from helpers.scale.__main__ import main; sys.exit(main(['index', 'a', 'b']))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=project_root(), capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "Scaling out needs packages that are not installed (ray, pymilvus); get them with "
        "`pip install -r requirements-scale.txt`, about 400 MB.\n"
    )
