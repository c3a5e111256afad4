"""The search page as a web application: each query, and each photo, has an address and gets a page made on the server.

    build_site(PhotoSearch(Path("outputs/sample")))      # an ASGI application for uvicorn; `app` serves it, guarded

One process holds the models for all visitors. They are asked one at a time, since a query is too small to share among
cores; whoever comes meanwhile waits his turn. Pages work without a script: forms, links and pictures that load as they
come into view. A few lines of app.js add dropping and pasting of photos.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from jinja2 import Environment, FileSystemLoader
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from helpers.data.images import load_photo
from helpers.data.manifest import Photo
from helpers.files import InputError
from helpers.search.display import (
    as_jpeg,
    file_version,
    large_picture,
    photo_details,
    read_upload,
    small_picture,
    tidy,
)
from helpers.search.engine import Hit
from helpers.search.guard import LARGEST_UPLOAD

Result = TypeVar("Result")
HOME = Path(__file__).parent
COUNTS = (24, 48, 96)  # hits on a page
NEIGHBOURS = 12  # on the page of a photo
LONGEST = 1000  # letters of a query or a caption
MOST_WAITING = 100  # queries that wait for the models; whoever comes then is sent away
KEPT = 64  # dropped photos, 1.2 MB each
BUSY = "Too many are asking at this moment; try again in a few seconds."
GONE = "There is no such photo here."
ALONE = '"Without" leaves out of what is found; say with words or a photo what to look for. These are all photos.'


class Gallery(Protocol):
    """What a page can be opened over: `engine.PhotoSearch`, or an album."""

    title: str
    photos: Mapping[str, Photo]
    models: list[str]

    def precisions(self, model: str) -> list[str]:
        """Those in which `model` is there, the usual one first."""

    def search(
        self,
        text: str | None,
        photo: Image.Image | None,
        *,
        without: str | None,
        model: str,
        precision: str,
        k: int,
        leave_out: str | None,
    ) -> list[Hit]:
        """The `k` photos that fit best, the best first, without the one of its own that asks."""

    def like(self, photo_id: str, k: int, *, model: str) -> list[Hit]:
        """The `k` photos nearest to one of its own, which is not among them."""

    def most_hits(self, like: str | None = None) -> int:
        """How many hits there are at most, where that photo of its own asks: copies of a photo are one."""

    def caption(self, photo: Image.Image) -> str:
        """What a captioner says of a photo."""


@runtime_checkable
class Correctable(Protocol):
    """A gallery whose captions people may correct: an album."""

    def correct(self, photo_id: str, caption: str) -> None:
        """Keep `caption` as that of the photo."""

    def corrected(self, photo_id: str) -> bool:
        """Whether its caption is by hand."""


@dataclass(frozen=True)
class Query:
    """What a visitor asks, as it stands in the page's address.

    `dropped` is the key of a photo that was dropped, `like` that of a photo of the gallery; blank means: none.
    """

    words: str = ""
    without: str = ""
    dropped: str = ""
    like: str = ""
    model: str = ""
    precision: str = ""
    count: int = COUNTS[0]
    page: int = 1

    @classmethod
    def read(cls, given: QueryParams | FormData) -> "Query":
        """The query in an address or a form.

        Raises:
            InputError: a number is none, or a text is too long.
        """
        texts = {name: str(given.get(name, "")).strip() for name in asdict(cls())}
        for name in ("count", "page"):
            text = texts.pop(name) or str(getattr(cls, name))
            if not re.fullmatch("[1-9][0-9]{0,5}", text):
                raise InputError(f"The address asks for {name} {text[:20]!r}; it must be a number from 1 to 999999.")
            texts[name] = int(text)
        query = cls(**texts)
        if query.count not in COUNTS:
            raise InputError(f"A page shows {', '.join(map(str, COUNTS))} photos; {query.count} is none of these.")
        if len(query.words) > LONGEST or len(query.without) > LONGEST:
            raise InputError(f"A query may have at most {LONGEST:,} letters; shorten it.")
        return query

    @property
    def asks(self) -> bool:
        """Whether there is anything to search with."""
        return bool(self.words or self.dropped or self.like)

    def __call__(self, path: str = "/", **changes: Any) -> str:
        """The address at `path` of this query with `changes`; what is as usual is left out."""
        given = {
            name: value for name, value in asdict(replace(self, **changes)).items() if value != getattr(Query, name)
        }
        return f"{path}?{urlencode(given)}" if given else path


@dataclass(frozen=True)
class Card:
    """A photo in a grid, ready to be shown."""

    key: str
    picture: str
    caption: str
    name: str
    score: float | None = None
    corrected: bool = False
    twins: tuple["Card", ...] = ()


@dataclass(frozen=True)
class Dropped:
    """A photo that a visitor dropped, and what the captioner says of it, or why it says nothing."""

    photo: Image.Image
    picture: bytes
    said: str = ""
    silent: str = ""


def build_site(gallery: Gallery) -> Starlette:
    """The pages over `gallery`, without the guard that belongs before them."""
    site = Site(gallery)
    return Starlette(
        routes=[
            Route("/", site.search),
            Route("/photos/{key}", site.photo),
            Route("/photos/{key}/caption", site.correct, methods=["POST"]),
            Route("/pictures/{size}/{key}.jpg", site.picture),
            Route("/dropped", site.drop, methods=["POST"]),
            Route("/dropped/{key}.jpg", site.dropped_picture),
            Mount("/static", StaticFiles(directory=HOME / "static")),
        ],
        exception_handlers={
            InputError: site.wrong,
            HTTPException: site.wrong,
            ClientDisconnect: site.left,
            Exception: site.failed,
        },
    )


class Site:
    """The pages over a gallery. Its methods answer one request each."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.models = {model: gallery.precisions(model) for model in gallery.models}
        # An id may be a path, with any letter in it; an address gets its hash.
        self.ids = {key_of(id_): id_ for id_ in gallery.photos}
        self.dropped: OrderedDict[str, Dropped] = OrderedDict()
        self._at_models, self._at_pictures = CapacityLimiter(1), CapacityLimiter(2)
        self._asking = 0
        self._templates = Environment(loader=FileSystemLoader(HOME / "templates"), autoescape=True)
        self._templates.filters["tidy"] = tidy

    # --- Pages ---

    async def search(self, request: Request) -> Response:
        """The page of a query, or without one a walk through all photos."""
        try:
            query = Query.read(request.query_params)
        except InputError as error:
            return self._page("search.html", Query(), 400, message=str(error))
        if not query.asks:
            message = ALONE if query.without else ""
            pages = self._pages(query, len(self.gallery.photos))
            return self._page("search.html", query, cards=self._walk(query, pages), pages=pages, message=message)
        started = time.perf_counter()
        try:
            hits = await self._turn(self._hits, query)
        except InputError as error:
            if query.dropped not in self.dropped:  # and would be missed again with the next words
                query = replace(query, dropped="")
            return self._page("search.html", query, 400, message=str(error))
        like = self._asking_photo(query)
        return self._page(
            "search.html",
            query,
            cards=self._cards(hits[(query.page - 1) * query.count :]),
            pages=self._pages(query, self.gallery.most_hits(like.id if like else None)),
            taken=round(1000 * (time.perf_counter() - started)),
            dropped=self.dropped.get(query.dropped),
            like=self._card(like) if like else None,
        )

    async def photo(self, request: Request) -> Response:
        """The page of one photo: large, with all that is known of it, and its nearest neighbours."""
        photo, query = self._photo(request.path_params["key"]), Query.read(request.query_params)
        details = await self._look(photo_details, photo.path)
        neighbours = await self._turn(self._neighbours, photo, query, NEIGHBOURS)
        correctable = isinstance(self.gallery, Correctable)
        return self._page(
            "photo.html",
            query,
            photo=photo,
            card=self._card(photo),
            details=details,
            said=None if correctable else await self._turn(self._say, photo),
            correctable=correctable,
            cards=self._cards(neighbours),
        )

    async def correct(self, request: Request) -> Response:
        """Keep a caption that was written by hand, and show the photo's page again."""
        photo = self._photo(request.path_params["key"])
        if not isinstance(self.gallery, Correctable):
            raise HTTPException(404, "The captions of this run are its data, and not corrected here.")
        form = await request.form(max_files=0)
        caption = " ".join(str(form.get("caption", "")).split())
        if not 0 < len(caption) <= LONGEST:
            raise InputError(f"A caption has at least one letter and at most {LONGEST:,}.")
        await self._turn(self.gallery.correct, photo.id, caption)
        return RedirectResponse(Query.read(request.query_params)(request.url.path.removesuffix("/caption")), 303)

    async def drop(self, request: Request) -> Response:
        """Take a photo of the visitor's, and go on to the search with it."""
        async with request.form(max_files=1, max_fields=20) as form:
            query, upload = Query.read(form), form.get("photo")
            if not isinstance(upload, UploadFile) or not upload.filename:
                raise InputError("No photo came along; choose one first.")
            key, photo = await self._look(_read, upload)
        if key not in self.dropped:
            try:
                dropped = Dropped(photo, as_jpeg(photo), said=await self._turn(self.gallery.caption, photo))
            except InputError as error:  # an album can do without a captioner
                dropped = Dropped(photo, as_jpeg(photo), silent=str(error))
            self.dropped[key] = dropped
        self.dropped.move_to_end(key)
        if len(self.dropped) > KEPT:
            self.dropped.popitem(last=False)  # the one that nobody has asked with for longest
        return RedirectResponse(query(dropped=key, like="", page=1), 303)

    # --- Pictures ---

    async def picture(self, request: Request) -> Response:
        """A photo of the gallery, small or large; its address names its version, so that browsers may keep it."""
        make = {"small": small_picture, "large": large_picture}.get(request.path_params["size"])
        if make is None:
            raise HTTPException(404, GONE)
        path = self._photo(request.path_params["key"]).path
        try:
            content = await self._look(make, path)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(content, media_type="image/jpeg", headers=headers)

    async def dropped_picture(self, request: Request) -> Response:
        """A photo that was dropped."""
        dropped = self.dropped.get(request.path_params["key"])
        if dropped is None:
            raise HTTPException(404, GONE)
        return Response(dropped.picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    # --- What goes wrong ---

    async def wrong(self, request: Request, error: Exception) -> Response:
        """A page for what the visitor can do something about."""
        if isinstance(error, HTTPException):  # with when to come again, or what may be asked for
            return self._page("search.html", Query(), error.status_code, error.headers, message=error.detail)
        return self._page("search.html", Query(), 400, message=str(error))

    async def left(self, request: Request, error: Exception) -> Response:
        """Nothing, for one who went away in the middle of what he sent; nginx's number for that."""
        return Response(status_code=499)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A page for what he cannot; the traceback goes to the terminal."""
        message = f"This failed with {type(error).__name__}; the terminal that serves this page says more."
        return self._page("search.html", Query(), 500, message=message)

    # --- Parts ---

    async def _turn(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function` in a thread, once it is its turn to use the models."""
        if self._asking > MOST_WAITING:  # and one whose turn it is
            raise HTTPException(503, BUSY, {"Retry-After": "3"})
        self._asking += 1
        try:
            return await to_thread.run_sync(partial(function, *arguments), limiter=self._at_models)
        finally:
            self._asking -= 1

    async def _look(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function` in a thread, one of the few that open photos."""
        return await to_thread.run_sync(partial(function, *arguments), limiter=self._at_pictures)

    def _hits(self, query: Query) -> list[Hit]:
        """The hits of `query` up to its page's last.

        Raises:
            InputError: the dropped photo is forgotten, or the gallery cannot answer.
        """
        k = min(query.page * query.count, len(self.gallery.photos))
        photo, like = None, self._asking_photo(query)
        if query.dropped:
            if query.dropped not in self.dropped:
                raise InputError("The photo of this address was dropped too long ago; drop it again.")
            self.dropped.move_to_end(query.dropped)
            photo = self.dropped[query.dropped].photo
        elif like:
            if not (query.words or query.without):
                return self._neighbours(like, query, k)
            photo = load_photo(like.path)
        model = self._model(query)
        # The selectors come together: a precision that the other model has is not asked of this one.
        precision = query.precision if query.precision in self.models[model] else self.models[model][0]
        return self.gallery.search(
            query.words or None,
            photo,
            without=query.without or None,
            model=model,
            precision=precision,
            k=k,
            leave_out=like.id if like else None,
        )

    def _neighbours(self, photo: Photo, query: Query, k: int) -> list[Hit]:
        return self.gallery.like(photo.id, k, model=self._model(query))

    def _model(self, query: Query) -> str:
        model = query.model or self.gallery.models[0]
        if model not in self.models:
            raise InputError(f"There is no model {model!r} here; choose one of: {', '.join(self.models)}.")
        return model

    def _asking_photo(self, query: Query) -> Photo | None:
        """The photo of the gallery that asks, where none was dropped."""
        return self._photo(query.like) if query.like and not query.dropped else None

    def _say(self, photo: Photo) -> str:
        return self.gallery.caption(load_photo(photo.path))

    def _photo(self, key: str) -> Photo:
        photo = self.gallery.photos.get(self.ids.get(key, ""))
        if photo is None:
            raise HTTPException(404, GONE)
        return photo

    def _walk(self, query: Query, pages: int) -> list[Card]:
        """A page of all photos, each from all over the gallery: neighbours in a folder are often alike."""
        photos = list(self.gallery.photos.values()) if query.page <= pages else []
        return [self._card(photo) for photo in photos[query.page - 1 :: pages]]

    def _pages(self, query: Query, cards: int) -> int:
        return max(1, -(-cards // query.count))

    def _cards(self, hits: Sequence[Hit]) -> list[Card]:
        return [
            replace(self._card(hit.photo), score=hit.score, twins=tuple(map(self._card, hit.twins))) for hit in hits
        ]

    def _card(self, photo: Photo) -> Card:
        key = key_of(photo.id)
        corrected = isinstance(self.gallery, Correctable) and self.gallery.corrected(photo.id)
        picture = f"/pictures/small/{key}.jpg?v={file_version(photo.path):x}"
        caption = tidy(photo.captions[0]) if photo.captions else ""
        return Card(key, picture, caption, photo.path.name, corrected=corrected)

    def _page(
        self, template: str, query: Query, status: int = 200, headers: Mapping[str, str] | None = None, **shown: Any
    ) -> Response:
        text = self._templates.get_template(template).render(
            query=query,
            gallery=self.gallery,
            total=len(self.gallery.photos),
            models=self.models,
            precisions=self.models.get(query.model or self.gallery.models[0], []),
            counts=COUNTS,
            largest=LARGEST_UPLOAD,
            **shown,
        )
        # A file's name may hold bytes that are no text (surrogates in Python), and cannot be sent as they are.
        return HTMLResponse(text.encode("utf-8", "replace"), status, {"Cache-Control": "no-cache", **(headers or {})})


def key_of(photo_id: str) -> str:
    """Sixteen hex digits that stand for a photo in addresses, and are the same each time."""
    return hashlib.sha256(photo_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(upload: UploadFile) -> tuple[str, Image.Image]:
    """A dropped photo and a key that is its own."""
    content = upload.file.read()
    return hashlib.sha256(content).hexdigest()[:16], read_upload(upload.filename or "This file", content)
