"""Write the address of this repository where it is named; `[tool.course]` in pyproject.toml is the place to change it.

    make address                 after that; before a release, set `version` there to the tag that it gets

It goes into each notebook's badges and into the cell below them, which fetches the course where there is no checkout,
and into the README's link to the published book. A notebook brings the version of the course that it belongs to: a
branch or a tag.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BADGES, CHECKOUT = "open-badges", "open-checkout"  # ids of the two cells, which follow a notebook's title
FETCH = """\
# Inside a checkout of the course this cell does nothing. Elsewhere, as in Colab or Kaggle, it fetches the course and
# installs what is missing.
import os
import subprocess
import sys
from pathlib import Path

ADDRESS, VERSION = os.environ.get("COURSE_ADDRESS", "{repository}"), "{version}"
course = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "helpers" / "profiles.py").is_file()), None)
if course is None:
    course = Path.cwd() / "{name}"
    fetch = ["git", "clone", "--quiet", "--depth=1", f"--branch={{VERSION}}", ADDRESS, str(course)]
    if not course.exists() and subprocess.run(fetch).returncode:
        raise SystemExit(f"{{VERSION}} of {{ADDRESS}} could not be fetched; is the network on? (Kaggle: Settings)")
    if subprocess.run([sys.executable, "-m", "helpers.packages"], cwd=course).returncode:
        raise SystemExit("Packages are missing, and pip could not install them; what it said stands above.")
    os.chdir(course)
sys.path.insert(0, str(course))"""


def badges(notebook: str, repository: str, version: str, images: str) -> str:
    """Links that open a notebook in Colab, Kaggle and Binder, as pictures that lie in `images`."""
    slug = repository.removeprefix("https://github.com/")
    path = f"{slug}/blob/{version}/notebooks/{notebook}"
    places = {
        "Colab": f"https://colab.research.google.com/github/{path}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{path}",
        "Binder": f"https://mybinder.org/v2/gh/{slug}/{version}?labpath=notebooks%2F{notebook}",
    }
    return "\n".join(f"[![Open in {name}]({images}/{name.lower()}.svg)]({link})" for name, link in places.items())


def with_address(notebook: Path, course: dict[str, str]) -> str:
    """The text of `notebook` with its two cells as they should be, below the title; elsewhere as it is."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    name = course["repository"].rsplit("/", 1)[-1]
    sources = {
        BADGES: ("markdown", badges(notebook.name, course["repository"], course["version"], "../docs/badges")),
        CHECKOUT: ("code", FETCH.format(name=name, **course)),
    }
    cells = [cell for cell in content["cells"] if cell.get("id") not in sources]
    for place, (identity, (kind, source)) in enumerate(sources.items(), start=1):
        cell = {"cell_type": kind, "id": identity, "metadata": {}, "source": source.splitlines(keepends=True)}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.insert(place, dict(sorted(cell.items())))
    content["cells"] = cells
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def with_site(text: str, course: dict[str, str]) -> str:
    """`text` with links to the published book leading to the site that GitHub Pages gives this repository."""
    owner, name = course["repository"].split("/")[-2:]
    return re.sub(r"https://[\w.-]+\.github\.io/[\w.-]+/", f"https://{owner.lower()}.github.io/{name}/", text)


def main() -> None:
    course = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", course["repository"]):
        sys.exit(f"pyproject.toml: repository should be https://github.com/OWNER/NAME, not {course['repository']!r}.")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook.write_text(with_address(notebook, course), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_site(readme.read_text(encoding="utf-8"), course), encoding="utf-8")


if __name__ == "__main__":
    main()
