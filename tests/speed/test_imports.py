"""The imports of a notebook, and their time."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.environment import project_root
from helpers.files import InputError, write_json
from helpers.speed.imports import import_seconds, imports_of


def test_the_imports_of_all_cells_are_found_and_nothing_else(tmp_path: Path) -> None:
    cells = ["%matplotlib inline\nimport json\nx = 1", "from pathlib import Path\nif x:\n    import never", "!ls"]
    content = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    write_json(tmp_path / "a.ipynb", {"cells": content})
    assert imports_of(tmp_path / "a.ipynb") == "import json\nfrom pathlib import Path"


def test_seconds_are_by_package_and_what_fails_is_named() -> None:
    seconds = import_seconds("import json, decimal")
    assert {"json", "decimal"} <= seconds.keys() and "json.decoder" not in seconds
    assert list(seconds.values()) == sorted(seconds.values(), reverse=True)
    assert 0 < sum(seconds.values()) < 60
    with pytest.raises(InputError, match="No module named 'no_such_package'"):
        import_seconds("import no_such_package")


@pytest.mark.parametrize(
    ("program", "unneeded"),
    [
        ("from helpers.environment import start; start(1, 1)", "torch"),  # as notebook 01
        ("import helpers.chain.pages, papermill", "rfc3987_syntax"),
        (
            "import torch; from helpers.graphs import convert; from helpers.uncertainty import mean_interval\n"
            "from helpers.training.optimizer import adamw, descend\n"
            "layer = torch.nn.Linear(3, 2); optimizer = adamw(layer.parameters(), 0.1, 0.1)\n"
            "descend(layer, optimizer, layer(torch.ones(1, 3)).sum(), 1.0)\n"
            "optimizer.load_state_dict(optimizer.state_dict())\n"
            "convert(layer, layer, (torch.ones(1, 3),)); mean_interval(torch.ones(5).numpy())",
            "torch._dynamo, torch.distributed.tensor, scipy.stats",
        ),
    ],
)
def test_what_takes_long_to_import_and_is_not_needed_is_not_imported(program: str, unneeded: str) -> None:
    ask = f"import sys; assert not (found := [name for name in {unneeded.split(', ')} if sys.modules.get(name)]), found"
    run = [sys.executable, "-c", f"{program}\n{ask}"]
    assert not subprocess.run(run, cwd=project_root(), capture_output=True, text=True).stderr
