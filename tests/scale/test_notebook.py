"""Notebook 08, run by papermill over a run in miniature, with the solutions of its exercises at its end."""

import json
import shutil
from pathlib import Path

import nbformat
import papermill
from course_copy import copy_course, errors_and_unrun, solutions

from helpers.environment import cores, project_root
from helpers.scale.sizing import SIZES


def test_the_notebook_runs_and_so_do_the_solutions_of_its_exercises(tiny_run: Path, tmp_path: Path) -> None:
    threads = cores() + 1  # as nothing has by itself
    settings = {"threads": threads, "many": 12, "index_sizes": [1600, 400], "photos": None}
    notebook = copy_course(tmp_path / "course", "08_scale_out", **settings)
    outputs = tmp_path / "course" / "outputs" / "sample"
    shutil.copytree(tiny_run, outputs)
    content = nbformat.read(notebook, as_version=4)
    used = "import torch\nprint(torch.get_num_threads(), round(rate / assumed.photos_per_second), assumed.measured_at)"
    content.cells += [nbformat.v4.new_code_cell(code) for code in (used, *solutions(notebook))]
    nbformat.write(content, notebook)
    papermill.execute_notebook(notebook, notebook, cwd=notebook.parent, progress_bar=False, log_output=False)
    assert errors_and_unrun(notebook) == ([], 0)
    metrics = json.loads((outputs / "scale" / "metrics.json").read_text())
    assert metrics["same_tables"] and metrics["agreement"] == 1.0
    assert (metrics["photos"], metrics["rejected"]) == (11, 1)  # one of the twelve is broken on purpose
    assert (outputs / "scale" / "sizing.png").stat().st_size > 10_000
    printed = "".join(
        output["text"]
        for cell in nbformat.read(notebook, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    assert f"\n{threads} {threads} 1600\n" in printed and f"photos a second on {threads} threads" in printed
    assert "2 made now, 4 were there" in printed and all(name in printed for name in SIZES)


def test_the_notebook_is_no_stage_of_the_default_chain() -> None:
    assert "08_scale_out" not in (project_root() / "run_all.py").read_text(encoding="utf-8")
