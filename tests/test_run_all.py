"""run_all.py on chains of tiny notebooks: what runs, what is skipped and why, and what a failure leaves behind.

Most tests replace papermill by an `exec` of the cells, so that they take milliseconds; the last ones start kernels.
"""

import _thread
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image

import run_all
from helpers.chain.freshness import Stage, code_cells, owned_files
from helpers.chain.notebook_runner import Progress
from helpers.environment import can_pin, command, cores, project_root
from helpers.files import CHECKPOINT, FINISHED, InputError, sighted
from helpers.profiles import PROFILES
from run_all import main


def stages_in(notebooks: Path) -> list[Stage]:
    """01 -> 02 -> 03 and 01 -> 04; 05 writes into the folder of 02."""
    return [
        Stage(notebooks / "01_draw.ipynb", (), "draw"),
        Stage(notebooks / "02_square.ipynb", ("01",), "square"),
        Stage(notebooks / "03_sum.ipynb", ("02",), "sum"),
        Stage(notebooks / "04_text.ipynb", ("01",), "text"),
        Stage(notebooks / "05_export.ipynb", ("02",), "graphs/export", also=("*.xml",)),
    ]


BEGIN = """
import json, sys
from pathlib import Path
def save(name, content):
    path = Path(outputs_dir) / profile / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
def load(name):
    return json.loads((Path(outputs_dir) / profile / name).read_text())
"""
CELLS = {
    "01_draw": (
        "scenes = None\nseed = 42\ncaption_batch = None\nlstm_epochs = None\nsearch_model = None\nown_photo = None",
        "save('draw/numbers.json', [scenes or 3, seed])",
    ),
    "02_square": (
        "power = 2\nthreads = None\nrun_missing = None",
        "save('square/a.json', [n**power for n in load('draw/numbers.json')])",
    ),
    "03_sum": (
        "beam = None",
        "save('sum/total.json', sum(load('square/a.json')))\n"
        "save('sum/metrics.json', {'headline': {'beam': beam or 5}, 'test': {'total': 7}})",
    ),
    "04_text": (
        "captions_folder = None\nown_words = None",
        "save('text/t.json', [captions_folder, own_words, load('draw/numbers.json')])",
    ),
    "05_export": ("", "save('square/a.xml', load('square/a.json')); save('graphs/export/b.json', 1)"),
}


def write_notebook(folder: Path, name: str, parameters: str, *sources: str) -> None:
    parameters = f"profile = 'sample'\noutputs_dir = 'outputs'\n{parameters}"
    cells = [
        {"cell_type": "markdown", "source": ["# Prose"], "metadata": {}, "id": "prose"},
        *(
            {
                "cell_type": "code",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "id": str(i),
            }
            for i, source in enumerate((parameters, BEGIN, *sources))
        ),
    ]
    cells[1]["metadata"] = {"tags": ["parameters"]}
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook))


class Chain:
    """A folder with the five notebooks, and `run(...)`, which gives the exit status and notes which stages ran."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.stages = stages_in(self.notebooks)
        self.outputs = folder / "outputs" / "sample"
        self.ran: list[str] = []
        self.parameters: dict[str, dict] = {}
        self.notebooks.mkdir()
        for name, cells in CELLS.items():
            write_notebook(self.notebooks, name, *cells)

    def edit(self, name: str, *cells: str) -> None:
        write_notebook(self.notebooks, name, *cells)

    def run(self, *arguments: str) -> int:
        self.ran.clear()
        return main(["--jobs", "1", *arguments, "--set", f"outputs_dir={self.outputs.parent}"], self.stages)

    def execute(self, notebook: Path, copy: Path, parameters: dict, progress: Progress, *_: object) -> None:
        self.ran.append(notebook.stem[:2])
        self.parameters[notebook.stem[:2]] = parameters
        names: dict = {}
        for source, tagged in code_cells(notebook):
            progress.cell += 1
            exec(source, names)
            names |= parameters if tagged else {}


@pytest.fixture
def chain(tmp_path, monkeypatch) -> Chain:
    chain = Chain(tmp_path)
    monkeypatch.setattr(run_all, "execute", chain.execute)
    return chain


# --- What runs and what is skipped ---


def test_a_second_run_skips_everything(chain, capsys):
    assert chain.run() == 0 and chain.ran == ["01", "02", "03", "04", "05"]
    before = (chain.outputs / "report.html").stat().st_mtime_ns
    capsys.readouterr()
    assert chain.run() == 0 and chain.ran == []
    output = capsys.readouterr().out
    assert output.count("up to date") == 10  # a line each, and a row each in the table
    assert "beam 5" in output  # headline metrics of the earlier run
    assert (chain.outputs / "report.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seed=7", ["01", "02", "03", "04", "05"]),
        ("power=3", ["02", "03", "05"]),  # a parameter of one notebook that no profile knows
        ("beam=9", ["03"]),
        ("own_words=sea", ["04"]),
        ("threads=2", []),
        ("run_missing=True", []),  # nothing is missing in a chain
        ("power=2", ["02", "03", "05"]),  # given now, not given before: the record cannot know that it is the default
    ],
)
def test_a_changed_parameter_reruns_its_stage_and_dependents_only(chain, setting, expected):
    chain.run()
    assert chain.run("--set", setting) == 0
    assert chain.ran == expected


def test_a_changed_profile_setting_reruns_the_stages_that_declare_it(chain, monkeypatch, capsys):
    from dataclasses import replace

    chain.run()
    monkeypatch.setitem(PROFILES, "sample", replace(PROFILES["sample"], beam=11))
    chain.run()
    assert chain.ran == ["03"]
    assert "parameter beam changed" in capsys.readouterr().out


def test_edited_code_reruns_and_edited_prose_does_not(chain):
    chain.run()
    path = chain.notebooks / "04_text.ipynb"
    path.write_text(path.read_text().replace("# Prose", "# Better prose"))
    chain.run()
    assert chain.ran == []
    chain.edit("04_text", CELLS["04_text"][0], CELLS["04_text"][1] + " # changed")
    chain.run()
    assert chain.ran == ["04"]


def test_a_missing_or_changed_output_reruns_its_stage(chain, capsys):
    chain.run()
    (chain.outputs / "square" / "a.json").unlink()
    chain.run()
    assert chain.ran == ["02"]  # the same numbers came out, so nothing after it has to run
    assert "an output is missing: square/a.json" in capsys.readouterr().out
    (chain.outputs / "text" / "t.json").write_text("edited by hand")
    chain.run()
    assert chain.ran == ["04"]


def test_force_reruns_and_a_different_result_spreads(chain):
    chain.run()
    chain.run("--only", "01", "--force")
    assert chain.ran == ["01"]
    chain.run()
    assert chain.ran == []
    (chain.outputs.parent / "counter").write_text("0")
    changing = (
        "n = int(Path(outputs_dir, 'counter').read_text()); save('../counter', n + 1); save('square/a.json', [n])"
    )
    chain.edit("02_square", CELLS["02_square"][0], changing)
    chain.run()
    chain.run("--force", "--only", "02")
    chain.run()
    assert chain.ran == ["03", "05"]


def test_force_trains_anew_what_would_be_loaded_as_finished(chain):
    chain.run()
    folders = ("square", "square/classes", "sum")
    marks = [chain.outputs / folder / name for folder in folders for name in (FINISHED, CHECKPOINT)]
    for mark in marks:
        mark.parent.mkdir(exist_ok=True)
        mark.write_text("{}")
    chain.run("--only", "02")  # up to date: nothing is touched
    assert all(mark.exists() for mark in marks)
    chain.run("--force", "--only", "02")
    assert [mark.exists() for mark in marks] == [False, False, False, False, True, True]


def test_times_and_what_a_stopped_training_left_are_no_results(chain):
    """A mark has a fingerprint of the history, and that has seconds."""
    square, text = CELLS["02_square"]
    names = (FINISHED, "history.json", CHECKPOINT, f"{CHECKPOINT}.old")
    now = f"{text}\nimport time\nfor name in {names}: save(f'square/{{name}}', time.time())"
    chain.edit("02_square", square, now)
    chain.run()
    chain.run("--force", "--only", "02")
    for name in (CHECKPOINT, f"{CHECKPOINT}.old"):
        (chain.outputs / "square" / name).unlink()
    chain.run()
    assert chain.ran == []


@pytest.mark.parametrize("way", ["removed", "replaced", "moved"])
def test_a_stage_whose_folder_was_taken_away_has_not_ended_well(chain, capsys, way):
    square, text = CELLS["02_square"]
    ways = {
        "removed": "shutil.rmtree(home)",
        "replaced": "shutil.rmtree(home); save('square/b.json', 1)",
        "moved": "home.rename(home.with_name('elsewhere'))",
    }
    taken = f"{text}\nimport shutil\nhome = Path(outputs_dir) / profile / 'square'\n{ways[way]}"
    chain.edit("02_square", square, taken)
    assert chain.run("--only", "01,02") == 1
    assert "square was removed or moved while this stage ran; run the stage again." in capsys.readouterr().err
    chain.edit("02_square", square, text)
    assert chain.run("--only", "01,02") == 0 and chain.ran == ["02"]


def test_files_written_into_another_stages_folder_belong_to_their_writer(chain):
    chain.run()
    square, export = (set(owned_files(chain.stages[position], chain.stages, chain.outputs)) for position in (1, 4))
    assert square == {"square/a.json"}
    assert export == {"square/a.xml", "graphs/export/b.json"}
    (chain.outputs / "square" / "a.xml").unlink()
    chain.run()
    assert chain.ran == ["05"]


def test_the_real_table_gives_every_artefact_its_owner(tmp_path):
    expected = {
        "dataset/manifest.json": "01",
        "features/vgg16_grid.npy": "02",
        "captioners/lstm/weights.pt": "03a",
        "captioners/lstm/step_int8.bin": "05",
        "dual_encoder/classes/best_multimodal_model.pth": "04a",
        "dual_encoder/classes/image_encoder.xml": "05",
        "fusion/weights.pt": "04b",
        "fusion/fusion_int8.xml": "05",
        "dual_encoder/vector_db/faiss_index.bin": "06",
        "search/metrics.json": "06",
    }
    nobodys = [
        "report.html",
        "notebooks/01_download.ipynb",
        "public/openai--clip/image_encoder.xml",
        "public/.openai--blip.99999.writing/step.bin",
        "scale/index/faiss_index.bin",
        "fusion/.vector_db.99999.writing/faiss_index.bin",
    ]
    for name in [*expected, *nobodys]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    owners = {name: stage.short for stage in run_all.STAGES for name in owned_files(stage, run_all.STAGES, tmp_path)}
    assert owners == expected


def test_a_changed_folder_outside_the_chain_reruns_the_stage_that_read_it(chain, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    record = f"save('text/metrics.json', {{'inputs': {{{str(photos)!r}: {sighted(photos)!r}}}}})"
    chain.edit("04_text", *CELLS["04_text"], record)
    chain.run()
    chain.run()
    assert chain.ran == []
    (photos / "b.jpg").touch()
    capsys.readouterr()
    chain.run()
    assert chain.ran == ["04"]
    assert f"{photos} changed" in capsys.readouterr().out


def test_list_says_what_would_run_and_runs_nothing(chain, capsys):
    def listed(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert chain.run("--list", *arguments) == 0
        stages, *_ = capsys.readouterr().out.partition("\n\n")
        *lines, last = stages.splitlines()
        assert re.fullmatch(r"About \d+:\d\d, one at a time\.", last)
        return [line.split("  ", 1)[1].strip() for line in lines]

    assert listed() == ["would run  (has not finished before)"] * 5
    assert not chain.outputs.exists()
    chain.run("--to", "04")
    chain.ran.clear()
    assert listed("--set", "power=3") == [
        "up to date",
        "would run  (parameter power changed)",
        "would run  (02 would run)",
        "up to date",
        "would run  (has not finished before)",
    ]
    (chain.outputs / "square" / "a.json").unlink()
    assert listed("--to", "03") == [
        "up to date",
        "would run  (an output is missing: square/a.json)",
        "up to date, if 02 gives the same result",
    ]
    assert chain.ran == []


def test_before_runs_what_a_stage_needs_and_not_the_stage(chain, capsys):
    assert chain.run("--before", "05") == 0 and chain.ran == ["01", "02"]
    assert chain.run("--before", "03_sum") == 0 and chain.ran == []
    assert chain.run("--before", "01") == 2
    assert "No stage is left to run" in capsys.readouterr().err


def test_a_run_made_before_the_helpers_moved_is_explained(chain, capsys):
    chain.run()
    records = json.loads((chain.outputs / "run_state.json").read_text())
    for short in ("02", "04"):
        records[short]["facts"]["code"] |= {"helpers/gone_features.py": "0" * 12, "helpers/gone_text.py": "1" * 12}
    (chain.outputs / "run_state.json").write_text(json.dumps(records))
    capsys.readouterr()
    assert chain.run("--list") == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert "(helpers/gone_features.py and 1 more have moved)" in first
    assert first.endswith("these stages run again when they are chosen: 02, 04.")
    assert chain.run() == 0 and chain.ran == ["02", "04"]
    capsys.readouterr()
    assert chain.run("--list") == 0 and "moved" not in capsys.readouterr().out


def test_only_from_and_to(chain):
    assert chain.run("--to", "02_square") == 0 and chain.ran == ["01", "02"]
    assert chain.run("--from", "02", "--to", "04") == 0 and chain.ran == ["03", "04"]
    assert chain.run("--only", "05") == 0 and chain.ran == ["05"]


def test_parameters_reach_the_notebooks_that_declare_them(chain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    chain.run("--set", "scenes=18", "--set", "captions_folder=2024", "--set", "beam=3")
    assert chain.parameters["01"] == {"profile": "2024", "outputs_dir": str(chain.outputs.parent), "scenes": 18}
    assert chain.parameters["04"]["captions_folder"] == str(tmp_path / "2024")
    assert chain.parameters["03"]["beam"] == 3
    assert "scenes" not in chain.parameters["02"]


def test_backbone_stands_for_both_kinds(chain, monkeypatch):
    monkeypatch.setattr(run_all, "missing", lambda *_: [])
    chain.edit("02_square", "power = 2\nvector_backbone = None", CELLS["02_square"][1])
    chain.edit("03_sum", "beam = None\nbackbone = None", CELLS["03_sum"][1])
    chain.run()
    chain.run("--set", "backbone=resnet50")
    assert chain.parameters["02"]["vector_backbone"] == "resnet50"
    assert chain.parameters["03"]["backbone"] == "resnet50"
    assert chain.ran == ["02", "03", "05"]


# --- Runs with names ---


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder of photos, as far as these notebooks look."""
    folder = tmp_path / "My photos"
    folder.mkdir()
    (folder / "captions.txt").write_text("image,caption")
    return folder


def output_of(chain: Chain, run: str, name: str = "text/t.json") -> list:
    return json.loads((chain.outputs.parent / run / name).read_text())


def test_a_run_remembers_its_settings_and_says_what_changes(chain, own, capsys):
    assert chain.run("--name", "holidays", "--set", f"captions_folder={own}", "--set", "beam=3") == 0
    begun = capsys.readouterr().out
    assert f"Run holidays (profile sample): captions_folder={own}, beam=3" in begun
    outputs_dir = chain.outputs.parent  # another place than the usual one has to be said each time
    assert f"`python run_all.py --name holidays --set=outputs_dir={outputs_dir}` goes on with it" in begun
    assert output_of(chain, "holidays")[0] == str(own) and not chain.outputs.exists()
    assert chain.run("--name", "holidays") == 0 and chain.ran == []
    assert "Changed" not in capsys.readouterr().out
    assert chain.run("--name", "holidays", "--set", "beam=4", "--set", "seed=7") == 0
    assert "Changed from now on: beam: 3 → 4; seed: as the profile has it → 7." in capsys.readouterr().out
    assert chain.ran == ["01", "02", "03", "04", "05"] and chain.parameters["03"]["beam"] == 4
    assert chain.run("--name", "holidays", "--set", "seed=None") == 0
    assert "Changed from now on: seed: 7 → as the profile has it." in capsys.readouterr().out
    assert "seed" not in chain.parameters["01"]


def test_a_refused_run_is_not_remembered_and_the_way_out_it_names_leads_to_what_was_asked_for(
    chain, own, capsys, monkeypatch
):
    def refuse(_):
        raise InputError(f"No way; do without: {command(caption_batch='7')}.")

    def run_as_told() -> tuple[int, str]:
        """Paste the command that the refusal named, on a day with a network."""
        said = capsys.readouterr()
        assert "emembered" not in said.out and "Changed" not in said.out
        words = shlex.split(said.err.split("`")[1])
        assert words[:2] == ["python", "run_all.py"]
        with monkeypatch.context() as online:
            online.setattr(run_all, "check_network", lambda _: None)
            status = main(words[2:], chain.stages)
        after = capsys.readouterr()
        return status, after.out + after.err

    monkeypatch.setattr(run_all, "missing", lambda *_: ["weights"])
    monkeypatch.setattr(run_all, "check_network", refuse)
    run = chain.outputs.parent / own.name.replace(" ", "_")
    assert chain.run("--profile", "flickr8k", "--set", f"captions_folder={own}", "--set", "beam=3") == 2
    assert not (run / "run.json").exists()
    status, said = run_as_told()
    settings = {"captions_folder": str(own), "beam": 3, "caption_batch": 7}
    assert status == 0 and "profile flickr8k" in said and f"--name {run.name} --set=outputs_dir=" in said
    assert json.loads((run / "run.json").read_text()) == {"profile": "flickr8k", "settings": settings}
    # A change that is refused leaves the run as it was.
    assert chain.run("--name", run.name, "--set", "beam=4") == 2
    assert json.loads((run / "run.json").read_text())["settings"] == settings
    status, said = run_as_told()
    assert status == 0 and "Changed from now on: beam: 3 → 4." in said


def test_hints_hold_the_whole_command_that_was_typed(chain):
    assert command(caption_batch="8", seed="7") == "set caption_batch = '8' and seed = '7' in the notebook"
    assert chain.run("--only", "01,04", "--keep-going", "--set=scenes=50", "--set", "caption_batch=16") == 0
    place = f"--set outputs_dir={chain.outputs.parent}"
    typed = f"python run_all.py --jobs 1 --only 01,04 --keep-going --set scenes=50 {place}"
    assert command(caption_batch="8") == f"`{typed} --set caption_batch=8`"


def test_own_photos_get_a_run_of_their_own_and_a_plain_run_leaves_it_alone(chain, own, capsys):
    assert chain.run("--set", f"captions_folder={own}") == 0
    said = capsys.readouterr().out
    assert "Own photos get a run of their own." in said and "--name My_photos" in said
    before = output_of(chain, "My_photos")
    assert chain.run() == 0 and chain.ran == ["01", "02", "03", "04", "05"]
    assert output_of(chain, "sample")[0] is None and output_of(chain, "My_photos") == before
    assert chain.run("--set", f"captions_folder={own}") == 0 and chain.ran == []  # the same command, the same run
    other = own.parent / "elsewhere" / own.name
    other.mkdir(parents=True)
    assert chain.run("--set", f"captions_folder={other}") == 2
    assert "There is a run My_photos already, of " in capsys.readouterr().err
    assert chain.run("--name", "sample", "--set", f"captions_folder={own}") == 2
    assert "give your photos another --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name", "holidys"], "There is no run 'holidys' yet (--list shows all)"),
        (["--name", "../up", "--set", "beam=3"], "A run cannot be called '../up'"),
        (["--name", "con", "--set", "beam=3"], "A run cannot be called 'con'"),
        (["--name", "Com1.2024", "--set", "beam=3"], "A run cannot be called 'Com1.2024'"),
        (["--name", "Sample", "--set", "beam=3"], "Sample would be the folder of the profile sample; take another"),
        (["--profile", "COCO"], "There is no profile 'COCO'"),
        (["--name", "holidays", "--profile", "flickr8k"], "The run holidays is of the profile sample"),
        (["--name", "flickr8k", "--profile", "coco"], "flickr8k is the run of the profile flickr8k"),
        (["--name", "new", "--set", "captions_folder=/no/where"], "/no/where does not exist; correct the setting"),
    ],
)
def test_a_wrong_name_is_one_sentence(chain, capsys, arguments, sentence):
    chain.run("--name", "holidays", "--set", "beam=3", "--to", "01")
    capsys.readouterr()
    assert chain.run(*arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and len(captured.err.splitlines()) == 1 and captured.out == ""
    assert sorted(path.name for path in chain.outputs.parent.iterdir()) == ["holidays"]


def test_list_shows_the_runs_there_are(chain, capsys):
    chain.run("--to", "02")
    chain.run("--name", "holidays", "--set", "beam=3")
    capsys.readouterr()
    assert chain.run("--list") == 0
    _, _, table = capsys.readouterr().out.partition("\n\n")
    header, *rows = (line.split(maxsplit=9) for line in table.splitlines())
    assert header == ["run", "profile", "done", "when", "size", "settings"]
    assert [row[:5] for row in rows] == [["holidays", "sample", "5", "of", "5"], ["sample", "sample", "2", "of", "5"]]
    assert rows[0][-1] == "GB  beam=3"


def age(folder: Path) -> None:
    """Give all files another time, as unpacking or copying them does."""
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def test_a_run_that_was_copied_or_moved_is_up_to_date(chain, tmp_path, own, capsys):
    record = f"save('text/metrics.json', {{'inputs': {{{str(own)!r}: {sighted(own)!r}}}}})"
    chain.edit("04_text", *CELLS["04_text"], record)
    chain.run("--name", "holidays", "--set", f"captions_folder={own}")
    shutil.copytree(chain.outputs.parent / "holidays", tmp_path / "elsewhere" / "copy")
    age(tmp_path / "elsewhere")
    age(own)
    chain.outputs = tmp_path / "elsewhere" / "sample"
    state = tmp_path / "elsewhere" / "copy" / "run_state.json"
    for times in ("compared by content", "at a glance"):
        before = state.read_text()
        assert chain.run("--name", "copy") == 0 and chain.ran == [], times
        assert (state.read_text() == before) == (times == "at a glance")
    (own / "captions.txt").write_text("image,caption2")
    assert chain.run("--name", "copy") == 0 and chain.ran == ["04"]


def test_photos_that_have_moved_are_read_again_and_nothing_else_runs(chain, tmp_path, own):
    chain.stages[3] = replace(chain.stages[3], needs=())
    chain.stages.append(Stage(chain.notebooks / "06_after.ipynb", ("04",), "after"))
    inputs = "from helpers.files import sighted; inputs = {captions_folder: sighted(Path(captions_folder))}"
    chain.edit("04_text", CELLS["04_text"][0], inputs, "save('text/metrics.json', {'inputs': inputs})")
    chain.edit("06_after", "", "save('after/a.json', 1)")
    chain.run("--name", "holidays", "--set", f"captions_folder={own}")
    moved = own.rename(tmp_path / "moved")
    assert chain.run("--name", "holidays", "--set", f"captions_folder={moved}") == 0 and chain.ran == ["04"]


# --- The report of a run that has not ended ---


def test_the_report_can_be_looked_at_while_the_run_goes_on(chain, monkeypatch, capsys):
    page = chain.outputs / "report.html"
    rows: dict[str, list[str]] = {}

    def execute(notebook: Path, copy: Path, parameters: dict, progress: Progress, *_: object) -> None:
        name = notebook.stem[:2]
        end = time.monotonic() + 20
        while time.monotonic() < end and (not page.exists() or f"Under way: {name} " not in page.read_text("utf-8")):
            time.sleep(0.01)
        html = page.read_text("utf-8")
        rows[name] = [*re.findall(r'<td><span class="tag (.*?)">', html), *re.findall(r"(\w+)\s+to come", html)]
        assert html.count("data:image/webp") == (0 if name == "01" else 1)
        chain.execute(notebook, copy, parameters, progress)
        if name == "01":
            Image.new("RGB", (8, 8)).save(chain.outputs / "draw" / "numbers.png")

    monkeypatch.setattr(run_all, "execute", execute)
    assert chain.run("--to", "04") == 0
    assert rows["01"] == ["running", "waiting", "waiting", "waiting", "not chosen", "3"]
    assert rows["03"] == ["ran", "ran", "running", "waiting", "not chosen", "1"]
    assert rows["04"] == ["ran", "ran", "ran", "running", "not chosen", "none"]
    assert capsys.readouterr().out.startswith(f"Report, growing with each stage: {page}\n")
    assert "has not ended" not in page.read_text("utf-8")
    age(chain.outputs)
    assert chain.run("--to", "04") == 0
    assert "growing" not in capsys.readouterr().out  # where nothing runs, nothing grows


@pytest.mark.parametrize("there", ["of a stage under way", "older than the last stage"])
def test_a_report_that_could_not_be_written_at_the_end_is_made_good_by_the_same_command(
    chain, monkeypatch, capsys, there
):
    write = run_all.write_report

    def full(profile: object, stages: list) -> Path:
        if there == "of a stage under way" and any(stage.status == "running" for stage in stages):
            return write(profile, stages)
        raise InputError("The disk is full.")

    chain.run("--to", "01")
    monkeypatch.setattr(run_all, "write_report", full)
    assert chain.run("--to", "02") == 1
    assert "The disk is full." in capsys.readouterr().err
    monkeypatch.setattr(run_all, "write_report", write)
    assert chain.run("--to", "02") == 0 and chain.ran == []
    html = (chain.outputs / "report.html").read_text("utf-8")
    tags = re.findall(r'<td><span class="tag (.*?)">', html)
    assert tags == ["up to date", "up to date", "not chosen", "not chosen", "not chosen"]
    assert "has not ended" not in html


def test_reports_that_take_longer_than_stages_do_not_queue(chain, monkeypatch):
    last_begun = threading.Event()
    under_way: list[str] = []
    write = run_all.write_report

    def slow(profile: object, stages: list) -> Path:
        under_way.extend(stage.name[:2] for stage in stages if stage.status == "running")
        if under_way == ["01"]:
            assert last_begun.wait(20)
        return write(profile, stages)

    def execute(notebook: Path, *rest: object) -> None:
        if notebook.stem.startswith("05"):
            last_begun.set()
        chain.execute(notebook, *rest)

    monkeypatch.setattr(run_all, "write_report", slow)
    monkeypatch.setattr(run_all, "execute", execute)
    assert chain.run() == 0
    assert under_way in (["01"], ["01", "05"])  # 02, 03 and 04 came and went while 01's was written


# --- Side by side ---


def test_stages_that_do_not_need_each_other_run_side_by_side(chain, monkeypatch):
    """02 and 04 wait for each other in the middle: one after the other they would never end."""
    met = threading.Barrier(2, timeout=20)
    spans: dict[str, list[float]] = {}

    def execute(notebook: Path, copy: Path, parameters: dict, progress: Progress, *_: object) -> None:
        name = notebook.stem[:2]
        spans[name] = [time.monotonic()]
        if name in ("02", "04"):
            met.wait()
        chain.execute(notebook, copy, parameters, progress)
        spans[name].append(time.monotonic())

    monkeypatch.setattr(run_all, "execute", execute)
    monkeypatch.setattr(run_all, "can_pin", lambda: True)
    assert chain.run("--jobs", "2") == 0
    for stage in chain.stages:
        for need in stage.needs:
            assert spans[need][1] <= spans[stage.short][0], f"{stage.short} began before {need} had ended"
    assert sorted(chain.ran) == ["01", "02", "03", "04", "05"]
    assert chain.run("--jobs", "2") == 0 and chain.ran == []


def test_what_others_wait_for_longest_goes_first_side_by_side(chain, monkeypatch):
    monkeypatch.setattr(run_all, "can_pin", lambda: True)
    seconds = {"01": 1, "02": 3, "03": 9, "04": 11, "05": 2}  # 02 and 03 take 12 together, 04 takes 11
    chain.stages = [replace(stage, seconds=seconds[stage.short]) for stage in chain.stages]
    assert [run_all.urgency(stage, chain.stages, seconds) for stage in chain.stages] == [13, 12, 9, 11, 2]
    begun: list[str] = []
    begin = Progress.__init__

    def noted(progress: Progress, label: str, *rest: object) -> None:
        begun.append(label.split("] ")[1][:2])
        begin(progress, label, *rest)

    monkeypatch.setattr(Progress, "__init__", noted)
    assert chain.run("--jobs", "2") == 0
    assert begun == ["01", "02", "04", "03", "05"]
    begun.clear()
    assert chain.run("--force") == 0  # one at a time
    assert begun == ["01", "02", "03", "04", "05"]


def test_a_stage_is_as_urgent_as_its_last_run_was_long():
    stages = [
        Stage(Path(f"{name}.ipynb"), (), name, seconds=hand) for name, hand in (("01", 10), ("02", 30), ("03", 6))
    ]
    assert run_all.stage_seconds(stages, {}) == {"01": 10, "02": 30, "03": 6}
    records = {"01": {"seconds": 50.0}, "02": {"seconds": 30.0}}  # 80 for 40: this machine takes twice as long
    assert run_all.stage_seconds(stages, records) == {"01": 50, "02": 30, "03": 12}


def test_a_failure_lets_the_stage_beside_it_end_and_starts_no_other(chain, monkeypatch):
    met = threading.Barrier(2, timeout=20)

    def execute(notebook: Path, copy: Path, parameters: dict, progress: Progress, *_: object) -> None:
        if notebook.stem[:2] in ("02", "04"):
            met.wait()
        if notebook.stem[:2] == "02":
            raise RuntimeError("no such luck")
        time.sleep(0.2)
        chain.execute(notebook, copy, parameters, progress)

    monkeypatch.setattr(run_all, "execute", execute)
    monkeypatch.setattr(run_all, "can_pin", lambda: True)
    assert chain.run("--jobs", "2") == 1
    assert chain.ran == ["01", "04"]
    assert set(json.loads((chain.outputs / "run_state.json").read_text())) == {"01", "04"}


def test_cores_are_shared_only_by_stages_that_could_meet(chain, monkeypatch):
    monkeypatch.setattr(run_all, "available_cores", lambda: [0, 1, 2, 3, 4])
    first, second, third, fourth, fifth = chain.stages

    def shares(stage: Stage, chosen: list[Stage], jobs: int = 2) -> list[list[int]]:
        return run_all.cores_of(stage, chosen, chain.stages, jobs)

    assert shares(first, chain.stages) == [[0, 1, 2, 3, 4]]  # all others need it
    assert shares(second, chain.stages) == [[0, 1], [2, 3]]  # 04 may run beside it
    assert shares(second, [first, second, third]) == [[0, 1, 2, 3, 4]]
    assert shares(third, [first, third, fourth]) == [[0, 1], [2, 3]]
    assert shares(fifth, [first, fifth]) == [[0, 1, 2, 3, 4]]  # 05 needs 01 through 02
    assert shares(second, chain.stages, jobs=1) == [[0, 1, 2, 3, 4]]
    assert shares(second, chain.stages, jobs=8) == [[0, 1, 2, 3, 4]]  # more lanes than cores


# --- Failures ---


def test_a_failure_stops_the_chain_and_the_next_run_resumes_there(chain, capsys):
    chain.edit("02_square", "power = 2", "raise RuntimeError('no such luck')")
    assert chain.run() == 1
    assert chain.ran == ["01", "02"]
    captured = capsys.readouterr()
    assert "02_square stopped in cell [3] with RuntimeError: no such luck" in captured.err
    assert str(chain.outputs / "notebooks" / "02_square.ipynb") in captured.err
    assert captured.out.count("not run") == 3
    assert "no such luck" in (chain.outputs / "report.html").read_text(encoding="utf-8")
    chain.edit("02_square", *CELLS["02_square"])
    assert chain.run() == 0
    assert chain.ran == ["02", "03", "04", "05"]


def test_a_stage_that_failed_after_a_success_does_not_count_as_up_to_date(chain):
    chain.run()
    chain.edit("03_sum", "beam = None", "raise RuntimeError")
    chain.run()
    chain.edit("03_sum", *CELLS["03_sum"])
    chain.run()
    assert chain.ran == ["03"]


def test_keep_going_runs_what_does_not_depend_on_the_failure(chain):
    chain.edit("02_square", "power = 2", "raise RuntimeError")
    assert chain.run("--keep-going") == 1
    assert chain.ran == ["01", "02", "04"]


def test_an_interrupted_run_resumes_at_the_first_unfinished_stage(chain, capsys):
    chain.edit("03_sum", "beam = None", "raise KeyboardInterrupt")
    assert chain.run() == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    chain.edit("03_sum", *CELLS["03_sum"])
    assert chain.run() == 0
    assert chain.ran == ["03", "04", "05"]


def test_a_torn_state_file_counts_as_empty(chain, capsys):
    chain.run("--to", "02")
    state = chain.outputs / "run_state.json"
    state.write_bytes(state.read_bytes()[:-20])
    assert chain.run("--to", "02") == 0
    assert chain.ran == ["01", "02"]
    assert "is not readable, so every stage counts as not run" in capsys.readouterr().out


def test_processes_are_a_setting_and_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = run_all.parse_arguments(["--processes", "2", "--set", "seed=3"])
    assert (arguments.set, arguments.jobs) == (["processes=2", "seed=3"], None)
    monkeypatch.setattr(run_all, "cores", lambda: 8)
    monkeypatch.setattr(run_all, "can_pin", lambda: True)
    for quota, jobs in ((False, 2), (True, 1)):
        monkeypatch.setattr(run_all, "has_quota", lambda quota=quota: quota)
        assert (run_all.usual_jobs(), run_all.usual_jobs(2)) == (jobs, 1)
    assert run_all.parse_settings(["processes=2"], run_all.STAGES) == {"processes": 2}
    folders = run_all.parse_settings(["outputs_dir=~/big", "data_dir=big"], run_all.STAGES)
    assert folders == {"outputs_dir": str(Path.home() / "big"), "data_dir": "big"}  # the latter in the project
    assert run_all.parse_settings(["data_dir=~no-user"], run_all.STAGES) == {"data_dir": "~no-user"}  # as in a shell


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "flicker8k"], "There is no profile 'flicker8k'"),
        (["--profile", ""], "--profile is blank; choose one of: sample, "),
        (["--name", ""], "A run cannot be called ''"),
        (["--only", "03,9"], "There is no stage '9'"),
        (["--from", "02_sqare"], "There is no stage '02_sqare'"),
        (["--set", "powr=3"], "There is no parameter 'powr'; did you mean 'power'?"),
        (["--set", "power"], "has no equals sign"),
        (["--set", "profile=coco"], "--profile"),
        (["--set", "beam=five"], "The setting beam cannot be 'five': it should be a valid integer"),
        (["--set", "beam=0"], "The setting beam cannot be 0: it should be greater than or equal to 1"),
        (["--set", "seed=-1"], "The setting seed cannot be -1: it should be greater than or equal to 0"),
        (["--set", "caption_batch=1"], "The setting caption_batch cannot be 1: it should be greater than or equal"),
        (["--set", "threads=all"], "The setting threads cannot be 'all': it should be a valid integer"),
        (["--set", "lstm_epochs=ten"], "The setting lstm_epochs cannot be 'ten': it should be a valid integer"),
        (["--set", "captions_folder=2024"], "2024 does not exist; correct the setting captions_folder."),
        (["--set", "search_model=nosuch"], "The setting search_model cannot be 'nosuch': it should be 'scratch'"),
        (["--set", "own_photo=2024"], "2024 does not exist; correct the setting own_photo."),
        (["--set", "captions_folder="], "--set captions_folder has no value; give it a path, or None for none."),
        (["--only", ""], "There is no stage ''"),
        (["--before", "01"], "No stage is left to run: none is named by all of --from, --to, --only and --before."),
        (["--set", "own_photo=no.jpg"], "no.jpg does not exist; correct the setting own_photo."),
        (["--set", "own_photo=~nobody.jpg"], "~nobody.jpg does not exist; correct the setting own_photo."),
        (
            ["--set", "captions_folder=~no-user/a+~/a"],
            "~no-user/a does not exist; correct the setting captions_folder.",
        ),
        (["--from", "03", "--to", "01"], "No stage is left to run"),
        (["--jobs", "0"], "at least one stage"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_status_2(chain, capsys, arguments, sentence):
    assert chain.run(*arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and len(captured.err.splitlines()) == 1
    assert chain.ran == [] and captured.out == ""


def test_a_missing_notebook_is_named(chain, capsys):
    (chain.notebooks / "04_text.ipynb").unlink()
    assert chain.run("--to", "03") == 0
    assert chain.run() == 2
    assert str(chain.notebooks / "04_text.ipynb") in capsys.readouterr().err


def test_features_that_will_not_fit_on_the_disk_stop_a_run_before_it_begins(chain, capsys, monkeypatch):
    chain.stages = [replace(stage, folder="features") if stage.short == "02" else stage for stage in chain.stages]
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert chain.run() == 2 and chain.ran == []
    said = capsys.readouterr().err
    assert re.fullmatch(r"Features need 227\.9 MB in .*, and 1\.0 MB are free there; make room, or .*\n", said)
    assert chain.run("--to", "01") == 0  # which writes no features


# --- With real kernels ---


@pytest.fixture
def real(tmp_path) -> Chain:
    chain = Chain(tmp_path)
    chain.stages = chain.stages[:2]
    return chain


def test_papermill_runs_this_interpreter_and_reports_a_failing_cell(real, tmp_path, monkeypatch, capfd):
    # A user's own kernel called python3 must not be taken.
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": ["/nowhere/python"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    facts = "import os; os.write(2, b'noise'); block = bytearray(64_000_000)\nimport time; time.sleep(0.8)\n"
    real.edit("01_draw", "scenes = None", facts + "save('draw/numbers.json', [sys.executable, os.getcwd(), scenes])")
    real.edit("02_square", "power = 2", "def divide(a):\n    return a / 0\n\ndivide(1)")
    assert real.run("--set", "scenes=14") == 1
    captured = capfd.readouterr()
    assert json.loads((real.outputs / "draw/numbers.json").read_text()) == [sys.executable, str(project_root()), 14]
    assert "02_square stopped in cell [4] with ZeroDivisionError: division by zero" in captured.err
    assert "return a / 0" in captured.err and "\x1b" not in captured.err and "noise" not in captured.err
    copy = json.loads((real.outputs / "notebooks/02_square.ipynb").read_text(encoding="utf-8"))
    assert any(out["output_type"] == "error" for cell in copy["cells"] for out in cell.get("outputs", ()))
    assert json.loads((real.outputs / "run_state.json").read_text())["01"]["memory"] > 64_000_000

    real.edit("02_square", "power = 2", "from helpers.files import InputError\nraise InputError('Too few photos.')")
    assert real.run("--set", "scenes=14") == 1
    captured = capfd.readouterr()
    assert "01_draw  up to date" in captured.out
    assert captured.err.splitlines()[0] == "02_square stopped in cell [4]: Too few photos."


@pytest.mark.skipif(not can_pin(), reason="this system cannot keep a process on some of the cores")
def test_kernels_side_by_side_have_cores_of_their_own(real):
    facts = "from helpers.environment import available_cores; save('{}', available_cores())"
    real.edit("01_draw", "", facts.format("first"))
    real.edit("04_text", "", facts.format("second"))
    real.stages = [Stage(real.notebooks / f"{name}.ipynb", (), name) for name in ("01_draw", "04_text")]
    assert real.run("--jobs", "2") == 0
    taken = [json.loads((real.outputs / name).read_text()) for name in ("first", "second")]
    assert taken == run_all.cores_of(real.stages[0], real.stages, real.stages, 2) or cores() == 1


@pytest.mark.parametrize(
    ("death", "words"),
    [
        ("os._exit(9)", "ended at once, as it does when memory runs out"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed, as the system does when memory runs out"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "was told to end by someone (SIGTERM)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed in a compiled library"),
        # What a memory-mapped file on a full disk does: a page of it that is not there.
        (
            "import mmap; f = open('{0}/hole', 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); "
            "f.truncate(0); m[0]",
            "lost its hold on a memory-mapped file, as it does when the disk is full",
        ),
    ],
    ids=["exit", "SIGKILL", "SIGTERM", "SIGSEGV", "SIGBUS"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_dead_kernel_is_explained(real, capfd, tmp_path, death, words):
    real.edit("01_draw", "", "import os, signal; save('draw/begun.json', 1); " + death.format(tmp_path))
    assert real.run("--only", "01") == 1
    captured = capfd.readouterr()
    assert "01_draw stopped in cell [4]: its Python process " + words in captured.err
    assert "Traceback" not in captured.err
    copy = json.loads((real.outputs / "notebooks" / "01_draw.ipynb").read_text(encoding="utf-8"))
    assert {1, 2, 3} <= {cell.get("execution_count") for cell in copy["cells"]}  # what was done before is kept


def test_a_slow_kernel_is_not_a_dead_one(real):
    """Its last output comes seconds after its reply, as on a machine with much else to do."""
    slow = "import time; get_ipython().kernel.iopub_thread.io_loop.add_callback(time.sleep, 6); print('late')"
    real.edit("01_draw", "", slow, "save('draw/numbers.json', [1])")
    assert real.run("--only", "01") == 0


def test_an_exception_that_ipython_cannot_format_is_told(real, capfd):
    """As where memory ran out: it prints what it can, and the cell has no error among its outputs."""
    real.edit(
        "01_draw",
        "",
        "def no_memory(*_, **__):\n    raise MemoryError",
        "get_ipython().InteractiveTB.get_records = no_memory",
        "divided = 1 / 0",
    )
    assert real.run("--only", "01") == 1
    assert "01_draw stopped in cell [6]: memory ran out (MemoryError)." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("raise OSError(28, 'No space left on device', 'grid.npy')", "the disk is full, or a limit is reached"),
        ("raise PermissionError(13, 'Permission denied', 'draw/b')", "a file may not be written or read"),
        ("(Path(outputs_dir) / 'photos' / '7.jpg').stat()", "a file or folder is gone or cannot be reached"),
        ("bytearray(1 << 60)", "memory ran out"),
        ("import numpy; numpy.zeros(1 << 57)", "memory ran out"),
        ('raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")', "memory ran out"),
        ('raise RuntimeError("can\'t start new thread")', "memory ran out, or the limit on threads is reached"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(chain, capsys, monkeypatch, cell, sentence):
    class CellError(Exception):
        """As papermill tells of an exception in a cell."""

        def __init__(self, cause: Exception) -> None:
            self.ename, self.evalue = type(cause).__name__, str(cause)
            self.traceback = ["a frame", "another frame", "the exception"]

    def execute(*arguments: object) -> None:
        try:
            chain.execute(*arguments)
        except (OSError, MemoryError, RuntimeError) as error:
            raise CellError(error) from error

    monkeypatch.setattr(run_all, "execute", execute)
    chain.edit("01_draw", "", cell)
    assert chain.run() == 1
    message, copy = capsys.readouterr().err.splitlines()[:2]
    assert f"01_draw stopped in cell [3]: {sentence}" in message and "frame" not in message + copy


def run_command(chain: Chain) -> subprocess.Popen[str]:
    """`run_all.py` on the stages of `chain`, as a process of its own."""
    stages = [(str(stage.notebook), stage.needs, stage.folder) for stage in chain.stages]
    arguments = ["--jobs", "1", "--set", f"outputs_dir={chain.outputs.parent}"]
    code = (
        "import sys; from pathlib import Path; from helpers.chain.freshness import Stage; from run_all import main; "
        f"sys.exit(main({arguments!r}, [Stage(Path(path), *rest) for path, *rest in {stages!r}]))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # As in a terminal: whoever runs the tests may have SIGHUP ignored (nohup), and a child would inherit that.
    usual = {} if sys.platform == "win32" else {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=project_root(), text=True, **pipes, **usual)


def wait_for(path: Path, process: subprocess.Popen[str]) -> int:
    """The number in a file that a notebook writes when it is at work."""
    while True:
        assert process.poll() is None, process.communicate()
        if path.exists() and (text := path.read_text()):
            return int(text)
        time.sleep(0.05)


def gone(pid: int, seconds: float) -> bool:
    """Whether a process ends within some seconds; one that nobody has waited for yet counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


SLEEP = "import os, time; save('pid', os.getpid()); time.sleep(60)"


def test_ctrl_c_stops_the_kernel(real, capfd):
    real.edit("01_draw", "", SLEEP)

    def interrupt() -> None:
        while not (real.outputs / "pid").exists():
            time.sleep(0.1)
        _thread.interrupt_main()

    # Tests that run in the background of a shell have Ctrl-C switched off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        assert real.run() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err == "Interrupted. Finished stages are kept; the same command goes on from there.\n"
    pid = int((real.outputs / "pid").read_text())
    assert not psutil.pid_exists(pid)
    report = (real.outputs / "report.html").read_text("utf-8")
    assert 'class="tag interrupted"' in report and "has not ended" not in report


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("name", "words"), [("SIGTERM", "Told to end."), ("SIGHUP", "The terminal was closed.")])
def test_a_run_that_is_told_to_end_says_so_and_ends_its_kernels(real, name, words):
    # The kernel has a child, as one that draws pictures in several processes has.
    real.edit("01_draw", "", "import subprocess; save('child', subprocess.Popen(['sleep', '60']).pid)", SLEEP)
    run = run_command(real)
    kernel = wait_for(real.outputs / "pid", run)
    run.send_signal(getattr(signal, name))
    time.sleep(0.05)
    run.send_signal(signal.SIGTERM)  # and again, by someone who cannot wait
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 128 + getattr(signal, name)
    assert errors == f"{words} Finished stages are kept; the same command goes on from there.\n"
    assert gone(kernel, 1) and gone(int((real.outputs / "child").read_text()), 1)
    real.edit("01_draw", *CELLS["01_draw"])
    assert real.run("--only", "01") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_second_run_is_refused_until_the_last_process_of_the_first_is_gone(real, capsys):
    real.edit("01_draw", "", SLEEP)
    first = run_command(real)
    kernel = wait_for(real.outputs / "pid", first)
    assert real.run("--list") == 0
    capsys.readouterr()
    assert real.run() == 2
    message = capsys.readouterr().err
    assert f"Another run is at work in {real.outputs} (process {first.pid} on " in message
    assert len(message.splitlines()) == 1
    psutil.Process(kernel).suspend()
    first.kill()  # its kernel will notice, but not while it stands still
    first.wait()
    real.edit("01_draw", *CELLS["01_draw"])
    threading.Timer(2, psutil.Process(kernel).resume).start()
    assert real.run("--only", "01") == 0
    assert f"Process {first.pid} died; waiting for the last" in capsys.readouterr().out
    assert gone(kernel, 0.5)
    assert (real.outputs / "run.lock").read_text() == ""
