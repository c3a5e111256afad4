"""Start-up: what each notebook imports, and how long that takes."""

import pytest

from helpers.environment import project_root
from helpers.speed.imports import import_seconds, imports_of

NOTEBOOKS = sorted((project_root() / "notebooks").glob("0[1-7]*.ipynb"))  # what make run runs


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def bench_imports(once, notebook) -> None:
    once(import_seconds, imports_of(notebook))
