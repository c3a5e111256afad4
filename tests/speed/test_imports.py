"""The imports of a notebook, and their time."""

from pathlib import Path

import pytest

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
