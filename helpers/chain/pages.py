"""Executed notebooks as HTML pages that need no network: drawings inside, formulas as MathML, which browsers set.

A notebook shows its drawings by their place beside it (`images/attention_step.svg`), so they are brought to executed
copies, too; and what nbconvert would leave to MathJax, a script on the web, is converted here.
"""

import re
import shutil
import sys
from pathlib import Path
from posixpath import normpath
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert

from helpers.environment import project_root
from helpers.files import atomic_path, there

# jsonschema, which nbformat loads, makes a parser of international addresses (RFC 3987) as it is imported, and that
# takes longer than all else that running a notebook needs. Notebooks have none to check; without it, it does without.
sys.modules.setdefault("rfc3987_syntax", None)

from nbconvert import HTMLExporter  # noqa: E402
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath  # noqa: E402
from nbformat.reader import NotJSONError  # noqa: E402


class _Renderer(IPythonRenderer):
    """Markdown as nbconvert renders it, with formulas as MathML and all pictures inside."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        # A lesson names its pictures from its own folder, and its badges lie outside of it.
        if there((project_root() / "notebooks" / url).is_file):
            url = normpath(f"notebooks/{url}")
        return super().image(text, url, title)

    def _src_to_base64(self, src: str) -> str | None:
        # nbconvert would open a folder, too.
        return super()._src_to_base64(src) if there((project_root() / src).is_file) else None

    def block_math(self, body: str) -> str:
        # Browsers know MathML Core, which leaves the alignment of a table's columns to CSS.
        return re.sub(r'columnalign="(\w+)"', r'style="text-align: \1"', self._formula(body, "$$", "block"))

    def inline_math(self, body: str) -> str:
        return self._formula(body, "$", "inline")

    def _formula(self, body: str, mark: str, display: str) -> str:
        """A formula as MathML; one that is not understood, such as a_b_c, as it was written."""
        try:
            return convert(body, display=display)
        except Exception:  # besides a dozen of its own without a common base, StopIteration, ValueError, KeyError, ...
            return f"<code>{self.escape_html(f'{mark}{body}{mark}')}</code>"


class _Exporter(HTMLExporter):
    """Pages of one file, without scripts from elsewhere."""

    def __init__(self) -> None:
        template = (
            "{% extends 'lab/index.html.j2' %}{% block html_head_js_mathjax %}{% endblock %}"
            # Else what is printed breaks in the middle of its words.
            "{% block html_head_css %}{{ super() }}"
            "<style>.jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere; }</style>{% endblock %}"
        )
        super().__init__(require_js_url="", embed_images=True, raw_template=template)

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=True,
            path=str(project_root()),
            anchor_link_text=self.anchor_link_text,
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def bring_drawings(folder: Path) -> None:
    """Put the notebooks' drawings beside the executed copies in `folder`."""
    for drawing in (project_root() / "notebooks" / "images").glob("*.svg"):
        with atomic_path(folder / "images" / drawing.name) as temporary:
            shutil.copyfile(drawing, temporary)


def render_notebook(copy: Path) -> Path | None:
    """An executed copy as HTML beside it, made again when the copy is newer; its drawings are brought to it.

    None where the copy is torn, as it is when the disk was full, or lacks a picture that was attached to a cell.
    """
    page = copy.with_suffix(".html")
    if not page.exists() or page.stat().st_mtime_ns < copy.stat().st_mtime_ns:
        bring_drawings(copy.parent)
        try:
            html, _ = _Exporter().from_filename(str(copy))
        except (NotJSONError, InvalidNotebook):
            return None
        with atomic_path(page) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return page
