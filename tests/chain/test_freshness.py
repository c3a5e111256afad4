"""What a stage is made from: its notebook's code and the helpers that it imports, through all wings."""

import ast
import json
import re
import shutil
from pathlib import Path

import grimp
import pytest

from helpers.artefacts import seal
from helpers.chain.freshness import (
    Stage,
    changed_fact,
    changed_output,
    imported_helpers,
    make_record,
    owned_files,
    source_hashes,
)
from helpers.environment import project_root
from helpers.files import sighted

NOTEBOOKS = sorted((project_root() / "notebooks").glob("0*.ipynb"))
HELPERS = project_root() / "helpers"


def write_notebook(path: Path, source: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": source}]}))


def test_imported_helpers_in_all_their_forms(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.py", "d.py", "wing/__init__.py", "wing/e.py", "wing/f.py", "wing/g.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = (
        "%matplotlib inline\nimport helpers.a\nfrom helpers.b import x\ndef f():\n    from helpers import c, nothing\n"
        "import helpers.wing.e as y\nfrom helpers.wing.f import z\nfrom helpers.wing import g\nimport otherhelpers.d\n"
    )
    expected = {tmp_path / name for name in ("a.py", "b.py", "c.py", "wing/e.py", "wing/f.py", "wing/g.py")}
    assert imported_helpers(source, tmp_path) == expected
    assert imported_helpers("%%bash\nls | wc", tmp_path) == set()


def test_a_changed_helper_touches_only_the_notebooks_that_reach_it(tmp_path: Path) -> None:
    helpers = tmp_path / "helpers"
    for name, source in {
        "near/by.py": "from helpers.far.off import x\nfrom helpers.profiles import y",
        "far/off.py": "import helpers.near.by",  # a circle must not hang it
        "far/off.json": "{}",
        "far/offside.py": "",
        "profiles.py": "",
        "other.py": "",
    }.items():
        (helpers / name).parent.mkdir(parents=True, exist_ok=True)
        (helpers / name).write_text(source)
    notebooks = [tmp_path / "notebooks" / f"{name}.ipynb" for name in ("01_draw", "03_sum", "04_text")]
    imports = ("", "from helpers.near.by import x", "from helpers import other")
    for notebook, source in zip(notebooks, imports, strict=True):
        write_notebook(notebook, source)

    before = [source_hashes(notebook) for notebook in notebooks]
    assert set(before[0]) == {"notebooks/01_draw.ipynb"}
    assert set(before[1]) == {
        "notebooks/03_sum.ipynb", "helpers/near/by.py", "helpers/far/off.py", "helpers/far/off.json",
    }  # fmt: skip
    assert set(before[2]) == {"notebooks/04_text.ipynb", "helpers/other.py"}
    for name in ("off.py", "off.json"):
        (helpers / "far" / name).write_text((helpers / "far" / name).read_text() + " ")
        after = [source_hashes(notebook) for notebook in notebooks]
        assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
        before = after


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Who imports whom in `helpers`, by another reader of the code than ours."""
    return grimp.build_graph("helpers", cache_dir=None)


@pytest.mark.parametrize("edited", [
    "files", "graphs", "plots", "training/optimizer", "sample/pen", "data/text", "data/readers/coco", "features/store",
    "captioning/decoding", "encoders/metrics", "deploy/models", "search/reranking", "search/page", "chain/freshness",
    "speed/captioning",
])  # fmt: skip
def test_editing_a_module_of_any_wing_reruns_exactly_the_stages_that_import_it(
    edited: str, imports: grimp.ImportGraph, tmp_path: Path
) -> None:
    shutil.copytree(HELPERS, tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "notebooks").mkdir()
    copies = [Path(shutil.copy(notebook, tmp_path / "notebooks")) for notebook in NOTEBOOKS]
    before = [source_hashes(copy) for copy in copies]
    file = tmp_path / "helpers" / f"{edited}.py"
    file.write_text(file.read_text(encoding="utf-8") + "# another line\n", encoding="utf-8")
    rerun = {copy.name for copy, known in zip(copies, before, strict=True) if source_hashes(copy) != known}

    module = "helpers." + edited.replace("/", ".")
    reached = {module} | imports.find_downstream_modules(module)
    expected = set()
    for notebook in NOTEBOOKS:
        text = "".join(line for cell in json.loads(notebook.read_text())["cells"] for line in [*cell["source"], "\n"])
        if reached & set(re.findall(r"^(?:from|import) (helpers[.\w]+)", text, re.MULTILINE)):
            expected.add(notebook.name)
    assert rerun == expected
    assert len(rerun) < len(NOTEBOOKS) or edited in ("files", "plots", "data/text")  # not by rerunning everything


def test_a_wing_says_what_it_is_and_exports_nothing() -> None:
    """So that freshness may pass over its `__init__.py`, and each name has one place to be imported from."""
    wings = [path for path in HELPERS.rglob("__init__.py") if path.parent != HELPERS]
    assert {path.parent for path in wings} == {path.parent for path in HELPERS.rglob("*.py")} - {HELPERS}
    for path in wings:
        (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(ast.get_docstring(ast.Module([docstring], [])).splitlines()[0]) > 20


def test_a_folder_that_would_take_long_to_read_is_known_by_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.files.digest", None)  # nothing is read
    (tmp_path / "film.mp4").write_bytes(b"film")
    record = {"facts": {"code": {}, "parameters": {}, "needs": {}}}
    record["inputs"] = {str(tmp_path): sighted(tmp_path, whole=False)}
    assert changed_fact(record["facts"], record) is None
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    assert changed_fact(record["facts"], record) == f"{tmp_path} changed"


def test_a_folder_sealed_again_by_a_later_stage_reruns_nothing(tmp_path: Path) -> None:
    stages = [
        Stage(tmp_path / "03a_train.ipynb", (), "model"),
        Stage(tmp_path / "05_export.ipynb", ("03a",), "graphs", also=("*/*.xml",)),
    ]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.pt").write_bytes(b"weights")
    seal(tmp_path / "model", "weights.pt")
    record = make_record(stages[0], stages, tmp_path, {}, 1.0, 1)
    (tmp_path / "model" / "step.xml").write_text("a graph")
    seal(tmp_path / "model", "step.xml")
    assert changed_output(tmp_path, record) is None
    assert make_record(stages[0], stages, tmp_path, {}, 1.0, 1)["key"] == record["key"]
    assert list(owned_files(stages[1], stages, tmp_path)) == ["model/step.xml"]
