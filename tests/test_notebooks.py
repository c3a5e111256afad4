"""A notebook run by itself, as a reader would: a fresh kernel in its own folder, cell by cell. And single cells."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import nbformat
import numpy as np
import pytest
from course_copy import copy_course, errors_and_unrun
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tiny_run import draw_photo

from helpers.captioning.captioner import new_captioner
from helpers.data.manifest import ClassPhoto, load_manifest
from helpers.data.text import build_tokenizer
from helpers.encoders import metrics
from helpers.encoders.dual_encoder import DualEncoderConfig, new_pair
from helpers.encoders.metrics import recall_hits, recall_table, score_metrics
from helpers.encoders.training import EncoderSettings, class_pairs
from helpers.environment import located, portable, project_root
from helpers.features.rows import Rows
from helpers.features.store import Features
from helpers.files import read_json, sighted, write_json
from helpers.profiles import get_profile
from helpers.search.album import HOME, Album, OtherModels
from helpers.search.engine import PhotoSearch
from helpers.search.reranking import HITS, first_hits, log_likelihoods, second_scores, usual_log_likelihoods
from helpers.uncertainty import brackets, mean_interval, verdict, with_interval

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
ADDRESS = run_path(str(project_root() / ".ci" / "address.py"))
COURSE = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]


def test_a_notebook_runs_in_a_fresh_kernel_from_its_own_folder(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    for number in (9, 10, 11):  # ten that are captioned are enough, and one of them is torn
        (captioned_folder / "Images" / f"photo_{number:02d}.jpg").write_bytes(b"")
    rows = (captioned_folder / "captions.txt").read_text(encoding="utf-8").splitlines()
    (captioned_folder / "captions.txt").write_text("\n".join(rows[:21]), encoding="utf-8")
    folders = {"captions_folder": str(captioned_folder), "classes_folder": str(class_folder)}
    notebook = copy_course(tmp_path / "course", "01_download", threads=1, **folders)
    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=120, resources={"metadata": {"path": str(notebook.parent)}}).execute()
    nbformat.write(content, notebook)
    assert errors_and_unrun(notebook) == ([], 0)
    # The copy works with the copy: its outputs lie beside its own helpers, in a run that is called like the photos.
    (run,) = (tmp_path / "course" / "outputs").iterdir()
    assert run.name == captioned_folder.name and len(load_manifest(run).photos) == 9


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_draws_no_more_than_a_small_data_set_has(path: Path) -> None:
    """`random.sample(some, 8)` is an error where there are seven."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sample":
                    assert "min(" in ast.unparse(node.args[1]), ast.unparse(node)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_loop_takes_no_name_from_the_cells_before_it(path: Path) -> None:
    """One that the loop's own cell reads first: run again, that cell would read what the loop left."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        read, own = set(), set()
        for part in ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else ():
            if isinstance(part, ast.FunctionDef):  # it has names of its own
                continue
            names = [node for node in ast.walk(part) if isinstance(node, ast.Name)]
            made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
            assert not (isinstance(part, ast.For) and made & read), (cell["id"], made & read)
            own |= made
            read |= {node.id for node in names} - own


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course as a repository that can be cloned, on the branch that notebooks fetch."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("helpers", "notebooks"):
        shutil.copytree(project_root() / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("requirements.txt", "run_all.py"):
        shutil.copy(project_root() / name, folder)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q", "-b", COURSE["version"]), ("add", "."), (*author, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def run_alone(notebook: str, folder: Path, cells: int, monkeypatch: pytest.MonkeyPatch, address: str) -> list[str]:
    """Run the first code cells of a notebook in a folder with nothing but it, as Colab does; what they printed."""
    folder.mkdir(exist_ok=True)
    shutil.copy(project_root() / "notebooks" / f"{notebook}.ipynb", folder)
    monkeypatch.setenv("COURSE_ADDRESS", address)
    monkeypatch.setenv("PYTHONPATH", "")
    content = nbformat.read(folder / f"{notebook}.ipynb", as_version=4)
    code = [cell for cell in content.cells if cell.cell_type == "code"][:cells]
    content.cells = [*code, nbformat.v4.new_code_cell("import helpers; print(helpers.__file__, Path.cwd())")]
    NotebookClient(content, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in content.cells]


def test_outside_a_checkout_the_first_cell_fetches_the_course_and_works_there(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = tmp_path / "alone" / "image-captioning-and-search"
    for _ in range(2):  # the second time it is there
        *_, place = run_alone("02_features", tmp_path / "alone", 1, monkeypatch, published.as_uri())
        assert place.split() == [str(course / "helpers" / "__init__.py"), str(course)]
    # Headless nobody can be asked: one sentence, with what to do.
    with pytest.raises(CellExecutionError, match=r"run 01_download first, .* Or set run_missing = True"):
        run_alone("02_features", tmp_path / "alone", 3, monkeypatch, published.as_uri())


def test_where_the_course_cannot_be_fetched_the_first_cell_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CellExecutionError, match=rf"{COURSE['version']} of file:///nowhere could not be fetched"):
        run_alone("02_features", tmp_path / "alone", 1, monkeypatch, "file:///nowhere")


def test_inside_a_checkout_the_first_cell_only_finds_it(tmp_path: Path) -> None:
    source = next(
        cell for cell in json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
    )
    code = "".join(source["source"]) + "\nprint(course, Path.cwd())"
    for folder in (project_root(), project_root() / "notebooks"):
        run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        assert run.stdout.split() == [str(project_root()), str(folder)]


def test_the_notebook_of_the_exports_asks_first_for_all_it_reads_at_its_end(tmp_path: Path) -> None:
    """A captioner's weights are there before its figures are, where notebook 03 was stopped in between."""
    notebook = copy_course(tmp_path / "course", "05_openvino", threads=1, run_missing=False)
    content = nbformat.read(notebook, as_version=4)
    models = ("captioners/lstm", "captioners/attention", "captioners/transformer")
    for name in (*models, "dual_encoder", "fusion", "pretrained_encoder"):
        write_json(tmp_path / "course" / "outputs" / "sample" / name / "config.json", {})
    content.cells = [cell for cell in content.cells if cell.cell_type == "code"][:3]
    client = NotebookClient(content, timeout=120, resources={"metadata": {"path": str(notebook.parent)}})
    missing = r"captioners/lstm/metrics\.json .+; run 03a_caption_lstm and 03b\w+ and 03c\w+ first"
    with pytest.raises(CellExecutionError, match=missing):
        client.execute()


def run_cell(notebook: str, holds: str, only: str | None = None, **names: Any) -> dict[str, Any]:
    """Run the code cell of a notebook that holds some text, or the function `only` of it; the names it leaves."""
    content = nbformat.read(project_root() / "notebooks" / f"{notebook}.ipynb", as_version=4)
    (source,) = (cell.source for cell in content.cells if cell.cell_type == "code" and holds in cell.source)
    tree = ast.parse(source)
    if only:
        tree.body = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == only]
    exec(compile(tree, notebook, "exec"), names)
    return names


def test_the_second_look_shows_a_captioner_the_features_of_its_own_backbone(tmp_path: Path) -> None:
    photos = [SimpleNamespace(id=f"{number}") for number in range(5)]
    splits, texts, vectors = {"train": photos[:3]}, ["a dog runs", "a cat"], np.eye(3, dtype=np.float32)
    features = {}
    for backbone, width in {"vgg16": 12, "efficientnet_lite0_stem": 7}.items():
        np.save(tmp_path / f"{backbone}.npy", np.random.default_rng(width).random((5, 49, width), np.float32))
        grid = Rows(tmp_path / f"{backbone}.npy", "02_features")
        features[backbone] = Features([photo.id for photo in photos], np.zeros((5, width), np.float32), grid)
    second_look = run_cell(
        "04c_pretrained_towers",
        holds="def second_look",
        only="second_look",
        np=np,
        settings=SimpleNamespace(outputs=tmp_path),
        splits=splits,
        photo_vectors={"train": vectors},
        load_features=lambda _, backbone: features[backbone],
        log_likelihoods=log_likelihoods,
        usual_log_likelihoods=usual_log_likelihoods,
    )["second_look"]
    pairs, tokenizer = np.ones((2, 2), bool), build_tokenizer("word", texts)
    for kind, (backbone, seen) in zip(("attention", "transformer"), features.items(), strict=True):
        judge = new_captioner(kind, tokenizer, seen.grid.shape[2], backbone, 10)
        found, _ = second_look(judge, photos[3:], texts, vectors[:2], pairs)
        np.testing.assert_allclose(found, log_likelihoods(judge, seen.grid[[3, 4]], texts, pairs), rtol=1e-6)


def test_the_second_look_of_a_judge_who_knows_finds_what_the_query_itself_has_among_its_first_hits() -> None:
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(60), 5)
    own = np.arange(60)[:, None] == owners
    fair = rng.normal(size=own.shape).astype(np.float32) + own
    known = {"owners": owners, "scores": fair, "fair": fair}
    known |= dict.fromkeys(("captioner", "gallery_photos", "gallery_captions", "caption_vectors"), owners)
    helpers = (first_hits, second_scores, score_metrics, recall_hits, recall_table, mean_interval, verdict)
    known |= {"np": np} | {helper.__name__: helper for helper in helpers}
    looked_at = run_cell(
        "04c_pretrained_towers",
        holds="first_hits(fair[queries])",
        settings=SimpleNamespace(seed=0, reranked_photos=30),
        count=40,  # twenty validation photos are only found
        second_look=lambda *asked: (np.where(asked[-1], np.where(own, 1e3, -1e3), np.nan), np.zeros(len(owners))),
        **known,
    )
    queries = looked_at["queries"]
    first = [sorted(range(300), key=lambda text: -fair[query, text])[:HITS] for query in queries]
    asking = [text for text in range(300) if owners[text] in queries]
    found = [owners[text] in sorted(range(60), key=lambda photo: -fair[photo, text])[:HITS] for text in asking]
    reached = [any(owners[text] == query for text in hits) for query, hits in zip(queries, first, strict=True)]
    assert looked_at["after"]["i2t_r1"] == pytest.approx(100 * np.mean(reached)) and 0 < np.mean(reached) < 1
    assert looked_at["after"]["t2i_r1"] == pytest.approx(100 * np.mean(found)) and 0 < np.mean(found) < 1


def test_intervals_of_the_towers_stand_beside_the_figures_that_they_are_of() -> None:
    """Each test photo has a twin among the validation photos, so that the larger gallery halves what is found."""
    owners = np.repeat(np.arange(30), 2)
    photos = {split: [SimpleNamespace(captions=["", ""], origin="one")] * 30 for split in ("test", "val")}
    vectors = np.random.default_rng(0).normal(size=(30, 16))
    texts = vectors[owners] + np.random.default_rng(1).normal(size=(60, 16))
    sides = SimpleNamespace(photos=vectors, texts=texts, text_groups=owners)
    names = vars(metrics) | {"pair": MagicMock(), "in_batches": lambda model, side, rows: rows, "brackets": brackets}
    names |= {"np": np, "seen": {"test": sides, "val": sides}, "data": {"test": sides, "val": sides}, "splits": photos}
    found = run_cell("04c_pretrained_towers", holds="gallery_vectors = ", **names)
    ignored = ("settings", "history", "located", "own_photo", "fingerprint_files", "folder", "fairly", "tried")
    found |= {name: MagicMock() for name in ignored} | {"queries": [], "ablation": {}, "after": {}}
    found |= {"HITS": 20, "RIVALS": 20, "WEIGHT": 0, "with_interval": with_interval, "write_json": lambda *_: None}
    written = run_cell("04c_pretrained_towers", holds='"with_val"', **found)["metrics"]
    assert written["t2i_r1"] > written["with_val"]["t2i_r1"]
    for figures in (written, written["with_val"]):
        assert len(figures["intervals"]) == 6
        for name, (low, high) in figures["intervals"].items():
            assert low <= figures[name] <= high, name
    for score, low, high in (written["headline"][name] for name in ("t2i R@1", "i2t R@1")):
        assert low <= score <= high


def test_one_more_class_learns_from_photos_that_are_decoded_already(class_folder: Path) -> None:
    descriptions = {"cane": ["a dog that barks", "a dog"], "gatto": ["a cat"], "mucca": ["a cow", "a brown cow"]}
    texts = [text for about in descriptions.values() for text in about]
    files = sorted(class_folder.rglob("*.jpg"))
    photos = [
        ClassPhoto(path.name, path, "gatto cane mucca".split()[row % 3], "train") for row, path in enumerate(files)
    ]
    tokenizers = {"all": build_tokenizer("word", [*texts, "and more"]), "few": build_tokenizer("word", texts[:3])}
    small = DualEncoderConfig(tokenizers["all"].vocab_size, photo_size=32, channels=(4, 4, 8, 8))
    by_class = dict.fromkeys(("train", "val"), class_pairs(photos, descriptions, new_pair(small, tokenizers["all"], 0)))
    known = {"labels": list(descriptions), "descriptions": descriptions, "texts": texts, "small": small, "np": np}
    known |= {"by_class": by_class, "quick": EncoderSettings(1), "new_pair": new_pair, "replace": replace}
    ignored = ("settings", "Path", "train_dual_encoder", "load_dual_encoder", "TemporaryDirectory", "relevance")
    known |= {name: MagicMock() for name in ignored}
    known["train_dual_encoder"].return_value = MagicMock(), None
    found = run_cell(
        "04a_dual_encoder",
        holds="map_by_class",
        build_tokenizer=lambda *_: tokenizers["few"],
        class_table=lambda *_: {label: {"map": 0.5} for label in descriptions},
        english_name=str,
        **known,
    )
    without = {label: descriptions[label] for label in ("cane", "gatto")}
    old = class_pairs([photo for photo in photos if photo.label in without], without, found["beginner"])
    everything = class_pairs(photos, descriptions, found["beginner"])
    for split in by_class:
        for learned, expected in ((found["old"][split], old), (found["everything"][split], everything)):
            for name, values in vars(expected).items():
                np.testing.assert_array_equal(getattr(learned, name), values, err_msg=name)


def test_another_untrained_transformer_differs_in_what_is_asked_for_alone() -> None:
    settings = get_profile("sample", backbone="efficientnet_lite0", beam=3, length_power=0.5, finetune=True)
    tokenizer = build_tokenizer("word", ["a dog"])
    names = {"settings": settings, "tokenizer": tokenizer, "channels": 7, "looks_through": "efficientnet_lite0_stem"}
    untrained = run_cell(
        "03c_caption_transformer", holds="def untrained", only="untrained", new_captioner=new_captioner, **names
    )["untrained"]
    usual, coarse = untrained(), untrained(grid=4)
    assert coarse.decoding == usual.decoding == "beam 3, length power 0.5"
    assert (
        coarse.model.config == replace(usual.model.config, grid=4) and usual.model.config.tail == "efficientnet_lite0"
    )


def test_figures_of_another_search_are_not_passed_off_as_those_of_this_one(capsys: pytest.CaptureFixture) -> None:
    history = [{"stage": "cross-entropy", "cider_d": 40.0}, {"stage": "self-critical", "cider_d": 41.0}]
    tried = {"decoding": "beam 5, length power 0.7", "cider_d_as_used_before": 49.0, "cider_d_as_used": 50.0}
    ignored = {"save_figure": lambda *_: None, "plot_training": lambda _: None, "folder": Path()}
    history.append({"stage": "halfway", "cider_d": 42.0} | tried)
    run_cell(
        "03c_caption_transformer",
        holds="cider_d_as_used_before",
        history=history,
        captioner=SimpleNamespace(beam=1, decoding="greedy"),
        **ignored,
    )
    assert "(beam 5, length power 0.7) 49.0 before and 50.0 halfway" in capsys.readouterr().out


def test_photos_a_second_are_of_photos_that_were_looked_at(tmp_path: Path) -> None:
    """Of 1,600, of which 1,200 were there before a resumed extraction, and all, where it had ended."""
    manifest, seconds = SimpleNamespace(photos=range(1600)), {"resumed": 8.0, "there": 0.5}
    for looked_at, pace in (({"resumed": 400, "there": 0}, {"photos/s": 50}), ({"there": 0}, {})):
        features = {name: Features([], np.zeros((1600, 7)), np.zeros(0), count) for name, count in looked_at.items()}
        told = {"features": features, "manifest": manifest, "seconds": seconds}
        run_cell("02_features", '"headline"', folder=tmp_path, write_json=write_json, **told)
        assert read_json(tmp_path / "metrics.json")["headline"] == {"photos": 1600} | pace


def test_length_by_hand_is_that_of_the_search_which_counts_the_end_mark(capsys: pytest.CaptureFixture) -> None:
    run_cell("03a_caption_lstm", holds="log_probs_by_hand = ", settings=SimpleNamespace(length_power=0.7))
    # As tests/captioning/test_decoding.py has it: log p / (words + 1) ** power.
    assert "power 1.0: -1.25, -0.94, so 'a dog runs on the grass' wins" in capsys.readouterr().out


def test_the_folder_of_own_photos_is_noted_as_what_the_album_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    names = dict.fromkeys(("album_home", "draw_album", "PhotoSearch", "Album", "settings", "outputs"), MagicMock())
    names |= {"located": located, "portable": portable, "sighted": sighted, "shutil": shutil, "os": os, "pictures": 1}
    names |= {"HOME": HOME, "OtherModels": OtherModels}
    noted = {
        own: run_cell("07_your_album", "inputs = ", photos=own, folder=tmp_path / "here", **names)["inputs"]
        for own in (None, str(tmp_path))
    }
    assert noted == {None: {}, str(tmp_path): {portable(tmp_path): sighted(tmp_path, whole=False)}}
    run_cell("07_your_album", '"inputs": inputs,', only="none")  # where they are written


def test_the_album_of_own_photos_is_where_the_command_keeps_it_unless_other_models_made_that(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "outputs" / "album"
    for number in range(3):
        draw_photo(photos / f"{number}.jpg", number)

    def open_album(own: Path | None = photos) -> Album:
        names = {
            "album_home": lambda *_: tmp_path / "sketches",
            "draw_album": lambda *_: [SimpleNamespace(path="0.jpg")],
        }
        names |= {"settings": SimpleNamespace(seed=1), "outputs": tiny_run, "pictures": 1, "folder": folder}
        names |= {one.__name__: one for one in (located, portable, sighted, Album, OtherModels, PhotoSearch)}
        own = own and str(own)
        return run_cell("07_your_album", "inputs = ", photos=own, shutil=shutil, os=os, HOME=HOME, **names)["album"]

    Album(photos, tiny_run, folder / "index").update()  # as earlier versions of the notebook had it
    Album(photos, tiny_run, folder / "index").correct("1.jpg", "one")
    album = open_album()
    assert album.home == photos / HOME and album.photos["1.jpg"].captions == ("one",)
    assert "taken over: 1" in capsys.readouterr().out
    album.correct("2.jpg", "two")
    Album(photos, tiny_run, model="scratch", anew=True).update()
    album = open_album()
    assert album.home == folder / "own" and album.encoder.name == "pretrained"
    assert album.photos["2.jpg"].captions == ("two",)
    assert "made by another model" in (said := capsys.readouterr().out) and str(folder / "own") in said
    assert Album(photos, tiny_run).encoder.name == "scratch"  # as it was
    (tmp_path / "sketches").mkdir()
    shutil.copytree(photos, tmp_path / "sketches" / "photos")
    for _ in range(2):
        drawn = open_album(None)
        assert drawn.home == folder / "drawn"
        drawn.correct("0.jpg", "by the notebook")
    assert "photos: 3 new" in capsys.readouterr().out  # it begins without


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_same_first_cell_and_badges_with_the_address_of_the_course(notebook: Path) -> None:
    assert notebook.read_text(encoding="utf-8") == ADDRESS["with_address"](notebook, COURSE), "make address"


def test_another_address_changes_the_two_cells_and_nothing_else() -> None:
    fork = {"repository": "https://github.com/somebody/their-course", "version": "v2.0"}
    text = ADDRESS["with_address"](NOTEBOOKS[1], fork)
    assert "colab.research.google.com/github/somebody/their-course/blob/v2.0/notebooks/02_features.ipynb" in text
    assert '\\"https://github.com/somebody/their-course\\"), \\"v2.0\\"' in text and "OWNER" not in text
    before, after = json.loads(NOTEBOOKS[1].read_text(encoding="utf-8"))["cells"], json.loads(text)["cells"]
    assert [cell["id"] for cell in before if cell not in after] == ["open-badges", "open-checkout"]
