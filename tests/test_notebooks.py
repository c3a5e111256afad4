"""A notebook run by itself, as a reader would: a fresh kernel in the notebook's own folder, cell by cell."""

from pathlib import Path

import nbformat
from course_copy import copy_course, errors_and_unrun
from nbclient import NotebookClient

from helpers.data.manifest import load_manifest


def test_a_notebook_runs_in_a_fresh_kernel_from_its_own_folder(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    folders = {"captions_folder": str(captioned_folder), "classes_folder": str(class_folder)}
    notebook = copy_course(tmp_path / "course", "01_download", threads=1, **folders)
    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=120, resources={"metadata": {"path": str(notebook.parent)}}).execute()
    nbformat.write(content, notebook)
    assert errors_and_unrun(notebook) == ([], 0)
    # The copy works with the copy: its outputs lie beside its own helpers.
    assert len(load_manifest(tmp_path / "course" / "outputs" / "sample").photos) == 12
