"""The search panel of notebook 06: a box for words, a place to drop a photo, and what is found.

    SearchPanel(PhotoSearch(Path("outputs/sample"))).show()
    HTML(answer_html(engine, text="two dogs in the snow"))       # the same answer where nobody can type

The panel is made of ipywidgets; a few lines of page.js add what they cannot do (dropping a file, Enter in an
empty box), page.css its looks. An answer is one piece of HTML with small pictures inside, so it can be shown
anywhere, and needs no server for the photos.
"""

import base64
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import HTML, display
from PIL import Image

from helpers.files import InputError
from helpers.search.display import as_jpeg, read_upload, small_picture, tidy
from helpers.search.engine import Hit, PhotoSearch

COUNTS = (4, 8, 12, 24)
STYLE, SCRIPT = (Path(__file__).with_suffix(suffix) for suffix in (".css", ".js"))


def someone_can_type() -> bool:
    """Whether a person sits at this notebook: headless runs (papermill, nbconvert) allow no input, JupyterLab does."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


# --- From results to HTML ---------------------------------------------------------------------------------------


def data_uri(jpeg: bytes) -> str:
    """A JPEG as the address of a picture, for the `src` of an `<img>`."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def words_html(caption: str) -> str:
    """A caption for people, escaped: what others wrote may look like HTML."""
    return escape(tidy(caption))


def hits_html(hits: Sequence[Hit], scores: bool = True) -> str:
    """Photos as a grid, each with its score and its captions; what people wrote is escaped."""
    cards = []
    for hit in hits:
        first, *others = map(words_html, hit.photo.captions or (hit.photo.id,))
        picture = data_uri(small_picture(hit.photo.path))
        more = "".join(f"<li>{text}</li>" for text in others)
        cards.append(
            f'<li class="hit"><img src="{picture}" alt="{first}">'
            f"<p>{f'<b>{hit.score:.2f}</b> ' if scores else ''}{first}</p>"
            + (f"<details><summary>{len(others)} more</summary><ul>{more}</ul></details>" if others else "")
            + "</li>"
        )
    return f'<ol class="hits">{"".join(cards)}</ol>'


def message_html(message: str) -> str:
    """A sentence for the user in place of an answer."""
    return f'<p class="message" role="alert">{escape(message)}</p>'


def answer_html(
    engine: PhotoSearch,
    text: str | None = None,
    photo: Image.Image | None = None,
    *,
    model: str | None = None,
    precision: str = "fp32",
    k: int = 8,
) -> str:
    """The answer to a query: what was asked, the photos found, for a photo also its caption, and how long it took.

    Args:
        engine: what to search.
        text: words, or None or blank.
        photo: upright RGB, or None.
        model: None: the engine's first.
        precision: of the graphs that read the query.
        k: photos to find.

    Raises:
        InputError: there is nothing to ask with, or something of the model is missing.
    """
    started = time.perf_counter()
    text = (text or "").strip() or None
    hits = engine.search(text, photo, model=model or engine.models[0], precision=precision, k=k)
    asked = f"<q>{escape(text)}</q>" if text else ""
    if photo is not None:
        said = escape(engine.caption(photo, precision))
        what = f"Your photo and {asked}" if text else "Your photo"
        asked = (
            f'<img src="{data_uri(as_jpeg(photo))}" alt="your photo: {said}">'
            f'<span>{what}. The captioner says: <em class="said">{said}</em></span>'
        )
    found = hits_html(hits)
    taken = f"{len(hits)} of {len(engine.photos):,} photos in {1000 * (time.perf_counter() - started):.0f} ms"
    return f'<div class="asked">{asked}<span class="taken" role="status">{taken}</span></div>{found}'


def show_answer(engine: PhotoSearch, text: str | None = None, photo: Image.Image | None = None, **options: Any) -> None:
    """Display what the panel would answer, where nobody can type; `options` as for `answer_html`."""
    answer = answer_html(engine, text, photo, **options)
    style = STYLE.read_text(encoding="utf-8")
    display(HTML(f'<style>{style}</style><div class="photo-search"><div class="answer">{answer}</div></div>'))


def welcome_html(engine: PhotoSearch, k: int = 8) -> str:
    """What the page shows before the first query: photos from all over the collection, and an example of a query."""
    photos = list(engine.photos.values())
    some = photos[:: -(-len(photos) // k)]
    example = next((photo.captions[0] for photo in some if photo.captions), "two dogs in the snow")
    invitation = f"{len(photos):,} photos. Describe one, such as <q>{words_html(example)}</q>, or drop one of yours."
    return f'<div class="asked"><span>{invitation}</span></div>' + hits_html([Hit(p, 0.0) for p in some], scores=False)


# --- The panel --------------------------------------------------------------------------------------------------


class SearchPanel:
    """The search as widgets: every change of a control asks again, and the answer is shown below.

    Args:
        engine: what to search.
        model: which model is chosen at first; None: the engine's first.
        k: how many photos are asked for at first, one of COUNTS.
    """

    def __init__(self, engine: PhotoSearch, model: str | None = None, k: int = 8) -> None:
        self.engine = engine
        self.photo: Image.Image | None = None
        model = model or engine.models[0]
        # The value changes with Enter or when the box is left, not with each letter.
        self.words = widgets.Text(
            description="Words", placeholder="Describe a photo, then press Enter", continuous_update=False
        )
        self.search = widgets.Button(description="Search", button_style="primary")
        self.upload = widgets.FileUpload(accept="image/*", description="Photo", tooltip="choose a photo, or drop one")
        self.forget = widgets.Button(description="Forget the photo")
        self.model = widgets.Dropdown(description="Model", options=engine.models, value=model)
        self.precision = widgets.Dropdown(description="Precision", options=engine.precisions(model))
        self.count = widgets.Dropdown(description="Results", options=COUNTS, value=k)
        self.answer = widgets.HTML(welcome_html(engine, k))
        row = widgets.Box(
            [self.words, self.search, self.upload, self.forget, self.model, self.precision, self.count]
        ).add_class("row")
        self.widget = widgets.VBox([row, self.answer]).add_class("photo-search")
        for control, kind in ((self.words, "words"), (self.answer, "answer"), (self.forget, "forget")):
            control.add_class(kind)
        self._show_forget()
        self.words.observe(self.ask, "value")
        self.search.on_click(self.ask)
        self.upload.observe(self._take_photo, "value")
        self.forget.on_click(self._forget_photo)
        self.model.observe(self._change_model, "value")
        for control in (self.precision, self.count):
            control.observe(self._ask_again, "value")

    def show(self) -> None:
        """Display the panel with its style and script."""
        style, script = (path.read_text(encoding="utf-8") for path in (STYLE, SCRIPT))
        display(HTML(f"<style>{style}</style><script>{script}</script>"), self.widget)

    def ask(self, *_: Any) -> None:
        """Answer the query that the controls hold, or say why that cannot be done."""
        self.widget.add_class("busy")  # not the answer, which is drawn anew with any change to it
        try:
            self.answer.value = answer_html(
                self.engine,
                self.words.value,
                self.photo,
                model=self.model.value,
                precision=self.precision.value,
                k=self.count.value,
            )
        except InputError as error:
            self.answer.value = message_html(str(error))
        except Exception as error:  # widgets drop what a callback raises, so the user would see nothing happen
            self.answer.value = message_html(f"The search failed with {type(error).__name__}: {error}")
            raise
        finally:
            self.widget.remove_class("busy")

    def _ask_again(self, *_: Any) -> None:
        """For controls that say how, not what: without a query they have nothing to answer."""
        if self.words.value.strip() or self.photo is not None:
            self.ask()

    def _change_model(self, *_: Any) -> None:
        there, chosen = self.engine.precisions(self.model.value), self.precision.value
        if list(self.precision.options) != there:
            with self.precision.hold_trait_notifications():
                self.precision.options = there
                self.precision.value = chosen if chosen in there else there[0]
        self._ask_again()

    def _take_photo(self, *_: Any) -> None:
        if not self.upload.value:  # it was emptied below
            return
        file = self.upload.value[0]
        self.upload.value = ()  # so that the same file counts as new the next time
        try:
            self.photo = read_upload(file["name"], bytes(file["content"]))
        except InputError as error:
            self.answer.value = message_html(str(error))
            return
        self._show_forget()
        self.ask()

    def _forget_photo(self, *_: Any) -> None:
        self.photo = None
        self._show_forget()
        if self.words.value.strip():
            self.ask()
        else:
            self.answer.value = welcome_html(self.engine, self.count.value)

    def _show_forget(self) -> None:
        self.forget.layout.display = None if self.photo is not None else "none"
