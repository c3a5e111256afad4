"""The report: one file, pictures inside, nothing loaded from elsewhere, nothing of a metric taken for HTML."""

import base64
import io
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers.chain.report import (
    HEROES,
    WIDE,
    StageResult,
    best_pictures,
    load_picture,
    results_table,
    runs_table,
    stage_notices,
    write_report,
)
from helpers.environment import project_root
from helpers.files import write_json
from helpers.profiles import get_profile


class Page(HTMLParser):
    """Start tags and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def save_picture(path, colourful: bool, title: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    info = PngInfo()
    if title:
        info.add_text("Title", title)
    Image.fromarray(pixels if colourful else pixels // 255).save(path, pnginfo=info)


@pytest.fixture
def run(tmp_path):
    profile = get_profile("sample", outputs_dir=str(tmp_path), beam=7)
    save_picture(profile.outputs / "captioners/lstm/training_history.png", colourful=False)
    save_picture(profile.outputs / "search/words.png", colourful=True, title="A query & its <hits>")
    metrics = {
        "headline": {"BLEU-4": [55.1, 51.2, 58.9]},
        "test": {"<b>worst</b>": "<script>alert(1)</script>"},
        "inputs": {"/x": "y"},
        "notices": ["1 photo left out, without a caption: a<b.jpg."],
    }
    write_json(profile.outputs / "captioners/lstm/metrics.json", metrics)
    write_json(profile.outputs / "captioners/lstm/classes/metrics.json", {"mAP": 0.5})
    (profile.outputs / "search/metrics.json").write_text("{torn")
    stages = [
        StageResult("03a_caption_lstm", "captioners/lstm", "ran", 83.2, 1_500_000_000, {"BLEU-4": [55.1, 51.2, 58.9]}),
        StageResult("04a_dual_encoder", "dual_encoder", "failed", problem="ValueError: <Tensor> too small"),
        StageResult("06_search", "search", "not run"),
    ]
    return profile, stages


def test_pictures_are_inside_the_page_and_nothing_is_loaded(run):
    profile, stages = run
    html = write_report(profile, stages).read_text(encoding="utf-8")
    page = Page(html)
    sources = [image["src"] for image in page.all("img")]
    assert len(sources) == 3 and sources[0] == sources[2]  # two pictures, and the best one again at the top
    assert all(source.startswith("data:image/") for source in sources)
    assert not page.all("script") and not page.all("link") and "url(" not in html
    assert not re.search(r"https?://", html)
    assert all(link["href"].startswith(("#", "notebooks/")) for link in page.all("a"))


def test_a_picture_keeps_its_look_at_a_fraction_of_its_size(tmp_path):
    # A chart-like picture, wider than the page shows: a grey ramp, and black strokes two pixels wide, as in letters.
    columns = np.arange(2800)
    ramp = np.broadcast_to((columns / 2800 * 255).astype(np.uint8)[None, :, None], (600, 2800, 3)).copy()
    ramp[:300] = np.where(columns // 4 % 2, 0, 250)[None, :, None]  # after halving, 2 px black, 2 px white
    Image.fromarray(ramp).save(tmp_path / "wide.png")
    picture = load_picture(tmp_path / "wide.png", "anchor")
    kind, content = picture.data.split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (1400, 300)
        shown = np.asarray(image.convert("L"), np.float32)
    assert np.abs(shown[160:] - columns[::2] / 2800 * 255).mean() < 3  # as good as the eye can tell
    stripes = shown[20:140, 200:1200]
    assert np.percentile(stripes, 90) - np.percentile(stripes, 10) > 200  # contrast of the strokes

    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((1200, 900), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "photo.png")
    small = load_picture(tmp_path / "photo.png", "anchor")
    assert len(small.data) < (tmp_path / "photo.png").stat().st_size / 4


def test_the_best_pictures_come_first_and_every_one_is_made_by_a_notebook(tmp_path):
    for place in (
        "dataset/photos.png",
        "fusion/map.png",
        "search/words.png",
        "search/other.png",
        "dual_encoder/map.png",
    ):
        save_picture(tmp_path / place, colourful=True)
    made = [load_picture(path, path.stem) for path in sorted(tmp_path.rglob("*.png"))]
    chosen = [picture.path.relative_to(tmp_path).as_posix() for picture in best_pictures(made, tmp_path)]
    assert chosen == ["search/words.png", "fusion/map.png", "dual_encoder/map.png"]

    code = "".join(path.read_text(encoding="utf-8") for path in (project_root() / "notebooks").glob("0*.ipynb"))
    for hero in HEROES:
        name = hero.rpartition("/")[2]
        assert name in code or re.sub("_best|_worst", "_{name}", name) in code, hero


def test_a_wide_picture_has_a_row_for_itself(run):
    profile, stages = run
    Image.new("RGB", (WIDE + 1, 50)).save(profile.outputs / "search/wide.png")
    page = Page(write_report(profile, stages).read_text(encoding="utf-8"))
    assert [figure.get("class") for figure in page.all("figure")] == [None, None, "row"]


def test_every_link_inside_the_page_has_a_target(run):
    page = Page(write_report(*run).read_text(encoding="utf-8"))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= set(identifiers)


def test_a_stage_that_is_running_shows_what_it_has_made_since_it_began(run):
    profile, stages = run
    folder = profile.outputs / "captioners/lstm"
    os.utime(folder / "training_history.png", (1, 1))  # of an earlier run, as its metrics are
    save_picture(folder / "examples.png", colourful=True)
    running = replace(stages[0], status="running", headline={}, seconds=60.0)
    page = Page(write_report(profile, [running, *stages[1:]]).read_text(encoding="utf-8"))
    assert [image["alt"] for image in page.all("img")] == ["", "Examples", "A query & its <hits>"]
    assert "Under way: 03a Caption LSTM" in page.text and "has been running for 1:00" in page.text
    assert "test.<b>worst</b>" not in page.text and "a<b.jpg" not in page.text
    assert "has not ended" not in write_report(profile, stages).read_text(encoding="utf-8")


def test_a_picture_that_is_made_anew_is_shown_anew(run):
    profile, stages = run
    path = profile.outputs / "captioners/lstm/training_history.png"
    write_report(profile, stages)
    save_picture(path, colourful=True, title="Anew")
    assert "Anew" in [image["alt"] for image in Page(write_report(profile, stages).read_text("utf-8")).all("img")]


def test_titles_numbers_and_problems_are_shown_as_text(run):
    page = Page(write_report(*run).read_text(encoding="utf-8"))
    assert [image["alt"] for image in page.all("img")] == ["", "Training history", "A query & its <hits>"]
    for text in (
        "<script>alert(1)</script>",
        "test.<b>worst</b>",
        "classes.mAP",
        "55.1 [51.2, 58.9]",
        "1:23",
        "1.50 GB",
    ):
        assert text in page.text
    assert "ValueError: <Tensor> too small" in page.text
    assert "/x" not in page.text  # fingerprints of inputs are no metrics


def test_settings_that_differ_from_the_profile_are_marked(run):
    html = write_report(*run).read_text(encoding="utf-8")
    marked = set(re.findall(r'<div class="own"><dt>(\w+)', html))
    assert marked == {"beam", "outputs_dir"}


def test_a_run_is_called_by_its_name(run):
    profile, stages = run
    assert "Profile <b>sample</b>" in write_report(profile, stages).read_text(encoding="utf-8")
    (profile.outputs.parent / "wide").mkdir(parents=True, exist_ok=True)
    named = replace(profile, run="wide")
    assert "Run <b>wide</b>, profile sample" in write_report(named, stages).read_text(encoding="utf-8")


def test_executed_notebooks_are_rendered_beside_the_copy(run):
    profile, stages = run
    cell = {"cell_type": "markdown", "source": "# All about *captions*", "metadata": {}, "id": "a"}
    copy = profile.outputs / "notebooks/03a_caption_lstm.ipynb"
    write_json(copy, {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    page = Page(write_report(profile, stages).read_text(encoding="utf-8"))
    assert {"notebooks/03a_caption_lstm.html", "notebooks/03a_caption_lstm.ipynb"} <= {a["href"] for a in page.all("a")}
    assert "<em>captions</em>" in copy.with_suffix(".html").read_text(encoding="utf-8")


def test_a_run_without_any_output_still_has_a_report(tmp_path):
    profile = get_profile("sample", outputs_dir=str(tmp_path))
    page = Page(write_report(profile, [StageResult("01_download", "dataset", "not run")]).read_text(encoding="utf-8"))
    assert "this stage has not run" in page.text and not page.all("img")


def test_results_table_lines_up(run):
    lines = results_table(run[1]).splitlines()
    assert lines[0].split() == ["stage", "status", "time", "memory", "results"]
    assert lines[2].split() == ["03a_caption_lstm", "ran", "1:23", "1.50", "GB", "BLEU-4", "55.1", "[51.2,", "58.9]"]
    assert (
        len(
            {
                line.index(word)
                for line, word in zip(lines, ("status", "-", "ran", "failed", "not"), strict=True)
                if word != "-"
            }
        )
        == 1
    )


def test_a_torn_notebook_takes_nothing_from_the_report(run):
    """As a full disk leaves it; the report of a failed run is still worth having."""
    profile, stages = run
    copy = profile.outputs / "notebooks" / "03a_caption_lstm.ipynb"
    copy.parent.mkdir()
    copy.write_text('{"cells": [{"cell_type": "mark')
    assert "BLEU-4" in write_report(profile, stages).read_text(encoding="utf-8")


def test_a_picture_that_a_killed_stage_left_half_written_is_not_shown(run):
    profile, stages = run
    whole = profile.outputs / "search/words.png"
    whole.with_name(".found.123.writing.png").write_bytes(whole.read_bytes()[:200])
    page = Page(write_report(profile, stages).read_text(encoding="utf-8"))
    assert len(page.all("img")) == 3


def test_what_a_stage_left_out_stands_with_it(run):
    profile, _ = run
    page = Page(write_report(*run).read_text(encoding="utf-8"))
    assert "1 photo left out, without a caption: a<b.jpg." in page.text
    assert stage_notices(profile.outputs / "captioners/lstm") == ["1 photo left out, without a caption: a<b.jpg."]
    assert stage_notices(profile.outputs / "search") == []  # its metrics are torn


def test_runs_are_listed_while_one_of_them_makes_files_and_takes_them_away(tmp_path):
    (tmp_path / "mine" / "kept").mkdir(parents=True)
    (tmp_path / "mine" / "kept" / "a.bin").write_bytes(bytes(20_000_000))
    write_json(tmp_path / "mine" / "run.json", {"profile": "sample", "settings": {}})
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                write_json(tmp_path / "mine" / f"folder {number}" / "a.json", {})
            for number in range(20):
                shutil.rmtree(tmp_path / "mine" / f"folder {number}")

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(come_and_go)
        try:
            for _ in range(200):
                (_, row) = runs_table(tmp_path, ()).splitlines()
                assert row.split() == ["mine", "sample", "0", "of", "0", "stages", "0.02", "GB"]
        finally:
            done.set()
        working.result()
