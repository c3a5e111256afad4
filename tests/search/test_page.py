"""Notebooks and their search panel in a real browser: JupyterLab on this machine, Chromium without a window.

What a notebook looks like when it has run is left in outputs/test_artefacts/ as jupyterlab_<name>.png.
"""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browsing import let_go, started
from course_copy import copy_course, errors_and_unrun
from playwright.sync_api import Browser, Page, expect
from tiny_run import draw_photo

from helpers.environment import project_root
from helpers.search.display import read_upload
from helpers.search.engine import PhotoSearch

ARTEFACTS = project_root() / "outputs" / "test_artefacts"
PATIENCE = 60_000  # milliseconds, for pages that start a process; a busy machine takes its time


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str, Path]]:
    """JupyterLab with settings of its own, in an empty folder: a page, the address and the folder."""
    home, course = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("lab") / "course"
    course.mkdir()
    places = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token="]
    command = ["jupyter", "lab", *options, f"--ServerApp.root_dir={course}"]
    with started(*command, folder=course, **dict.fromkeys(places, str(home))) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        # "Select Kernel", where it was told to run before it had heard of the kernel it had started itself.
        page.add_locator_handler(page.locator(".jp-Dialog"), lambda it: it.locator(".jp-mod-accept").click())
        yield page, address, course
        page.close()


def run_all(page: Page, address: str, course: Path, notebook: Path) -> None:
    """Open `notebook`, choose Run > Run All Cells, and save until the file on disk shows that all cells have run."""
    page.goto(f"{address}/lab/tree/{notebook.relative_to(course).as_posix()}?reset")
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=PATIENCE)  # its kernel is up
    for attempt in range(360):  # three minutes and more on a busy machine; it ends as soon as all is done
        # Again, if nothing came of it: on a busy machine the menu can be there before what it calls.
        if attempt % 40 == 0 and page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').count():
            page.click(".lm-MenuBar-itemLabel:text-is('Run')")
            page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
        page.wait_for_timeout(500)
        page.click('[data-jp-item-name="save"]')
        try:
            errors, unrun = errors_and_unrun(notebook)
        except nbformat.reader.NotJSONError:  # it is being written at this moment
            continue
        if errors or not unrun:
            break
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"jupyterlab_{notebook.stem}.png")
    assert (errors, unrun) == ([], 0)


def test_a_notebook_steps_through_in_jupyterlab(
    lab: tuple[Page, str, Path], captioned_folder: Path, class_folder: Path
) -> None:
    folders = {"captions_folder": str(captioned_folder), "classes_folder": str(class_folder)}
    page, address, course = lab
    notebook = copy_course(course, "01_download", threads=1, **folders)
    run_all(page, address, course, notebook)
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    # Photos of one's own get a run of their own, called like their folder.
    assert (course / "outputs" / captioned_folder.name / "dataset" / "manifest.json").exists()
    assert not (course / "outputs" / "sample").exists()


def test_the_search_box_of_notebook_06_works_in_jupyterlab(
    lab: tuple[Page, str, Path], tiny_run: Path, engine: PhotoSearch, tmp_path: Path
) -> None:
    page, address, course = lab
    source = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(project_root())!r})
from helpers.environment import set_threads
from helpers.search.engine import PhotoSearch
from helpers.search.page import SearchPanel, someone_can_type
set_threads(1)
assert someone_can_type()
SearchPanel(PhotoSearch(Path({str(tiny_run)!r}))).show()"""
    notebook = course / "panel.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
    run_all(page, address, course, notebook)
    page.wait_for_selector(".photo-search .hit", timeout=PATIENCE)
    page.fill(".words input", "a dog in the snow")
    page.press(".words input", "Enter")
    expect(page.locator(".asked q")).to_have_text("a dog in the snow")
    hits = engine.search("a dog in the snow", k=8)
    expect(page.locator(".hit b")).to_have_text([f"{hit.score:.2f}" for hit in hits])
    content = draw_photo(tmp_path / "mine.jpg", 77).read_bytes()
    let_go(page, "mine.jpg", content, ".photo-search .answer")
    expect(page.locator(".said")).to_have_text(engine.caption(read_upload("mine.jpg", content)))
