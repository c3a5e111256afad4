"""How Sphinx makes the book; build.py puts its pages together first. Nothing is loaded from a network, now or later."""

import re
import tomllib
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator as HTMLTranslator

ROOT = Path(__file__).resolve().parents[2]
_course = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]

project = "Image captioning and search"
html_title = project
author = "the authors of the course"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["parts/*"]

myst_enable_extensions = ["dollarmath", "html_image", "attrs_inline", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
nb_execution_mode = "off"  # a run has executed them
nb_ipywidgets_js = {}  # comes from a network
nb_merge_streams = True
nb_remove_code_outputs = False
suppress_warnings = ["myst-nb.mime_priority"]

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "repository_url": _course["repository"],
    "repository_branch": _course["version"],
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark, as the system is
html_math_renderer = "mathml"

revealjs_style_theme = "white"  # its fonts lie beside it
revealjs_static_path = ["static"]
revealjs_css_files = ["slides.css"]
revealjs_script_conf = {"hash": True, "slideNumber": True, "transition": "none", "center": False, "display": "flex"}
revealjs_use_section_ids = True


def _formula(translator: HTMLTranslator, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers set by themselves: neither a script nor a font is needed."""
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if block else "inline")
    # Browsers know MathML Core, which leaves the alignment of a table's columns to CSS.
    formula = re.sub(r'columnalign="(\w+)"', r'style="text-align: \1"', formula)
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _search_without_excerpts_in_files(app: Sphinx) -> None:
    """Pages that were opened as files may not read each other: a search shows titles then, and excerpts on a server."""
    if app.builder.name == "html":
        app.add_js_file(None, body="DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== 'file:';")


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("builder-inited", _search_without_excerpts_in_files)
