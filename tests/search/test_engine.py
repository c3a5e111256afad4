"""The search engine against PyTorch and NumPy, and its answers as HTML against a parser that knows nothing of them."""

import base64
import io
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import openvino as ov
import pytest
import torch
from PIL import Image
from tiny_run import BACKBONE, COUNT, NASTY, draw_photo, export_floats

from helpers import graphs
from helpers.captioning.captioner import load_captioner
from helpers.data.images import load_photo, load_pixels
from helpers.deploy.models import export_pretrained_pair
from helpers.encoders.dual_encoder import load_dual_encoder
from helpers.encoders.fusion import load_fusion
from helpers.encoders.pretrained import load_pretrained_pair, new_pretrained_pair, with_tail
from helpers.features.backbones import graph_file, load_backbone
from helpers.features.store import Features
from helpers.files import InputError
from helpers.search.album_models import models_of
from helpers.search.display import as_jpeg, read_upload
from helpers.search.engine import CAPTIONER, MODELS, PhotoSearch
from helpers.search.index import UNWANTED
from helpers.search.page import SearchPanel, answer_html, data_uri, message_html, welcome_html

LOADERS = {"scratch": load_dual_encoder, "pretrained": load_pretrained_pair, "fusion": load_fusion}
WORDS = "a red boat in the snow"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    """One that is not in the run."""
    return load_photo(draw_photo(tmp_path_factory.mktemp("own") / "own.png", 99))


# --- The engine -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_pytorch(engine: PhotoSearch) -> dict[str, tuple[Any, np.ndarray]]:
    """Each model as its notebook saved it, with its vectors of all photos, which no index had a part in."""
    found = {}
    for model, load in LOADERS.items():
        pair = load(engine.home(model))
        pixels = load_pixels([one.path for one in engine.photos.values()], pair.photo_size)
        if model == "pretrained":  # its index knows what notebook 02 keeps: the photo, without its mirror image
            with torch.no_grad():
                vectors = pair.backbone(torch.from_numpy(pixels))[0]
                found[model] = pair, pair.model.encode_image(vectors[:, None]).numpy()
        else:
            found[model] = pair, pair.embed_photos(pixels)
    return found


def test_towers_with_layers_of_the_backbone_look_through_its_stem(
    tiny_run: Path, photo: Image.Image, tmp_path: Path
) -> None:
    outputs = tmp_path / "run"
    shutil.copytree(tiny_run, outputs)
    home = outputs / MODELS["pretrained"]
    shutil.rmtree(home)
    pair = with_tail(new_pretrained_pair(load_backbone(BACKBONE), "use", 512, seed=0))
    pair.model.eval()
    pair.save(home)
    engine = PhotoSearch(outputs)
    pixels = load_pixels([one.path for one in engine.photos.values()], pair.photo_size)
    with torch.no_grad():
        vectors, grid = pair.backbone(torch.from_numpy(pixels))
    looks = [Features(list(engine.photos), vectors.numpy(), grid.numpy())]
    with patch("helpers.deploy.models.export", export_floats):
        export_pretrained_pair(pair, home, pair.views(looks * 2, list(engine.photos))[:], ["a dog"])
    export_floats(pair.backbone, pair.backbone, graph_file(outputs, pair.backbone.name), [(torch.from_numpy(pixels),)])

    with torch.no_grad():
        gallery = pair.model.encode_image(grid[:, None]).numpy()
    index = engine.build_index("pretrained", looks)
    np.testing.assert_allclose(index.vectors(list(engine.photos)), gallery, atol=1e-4)
    query = pair.embed_photos(np.array(photo.resize((320, 320), Image.Resampling.BICUBIC))[None])[0]
    hits = engine.search(photo=photo, k=3)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(gallery @ query)[::-1][:3], atol=1e-3)

    encoder, captioner = models_of(engine, "pretrained", "attention", "fp32")  # as an album has them
    np.testing.assert_allclose(encoder.embed_photos(pixels), gallery, atol=1e-4)
    assert captioner.caption_photos(pixels[:2]) == [engine.caption(Image.fromarray(one)) for one in pixels[:2]]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", ["text", "photo", "both", "mostly text"])
def test_hits_are_those_of_pytorch_and_numpy(
    engine: PhotoSearch,
    in_pytorch: dict[str, tuple[Any, np.ndarray]],
    photo: Image.Image,
    model: str,
    asked: str,
) -> None:
    pair, gallery = in_pytorch[model]
    own = np.array(photo.resize((pair.photo_size,) * 2, Image.Resampling.BICUBIC))[None]
    text_vector, photo_vector = pair.embed_texts([WORDS])[0], pair.embed_photos(own)[0]
    joined = pair.embed(own, [WORDS])[0] if model == "fusion" else text_vector + photo_vector
    query = {"text": text_vector, "photo": photo_vector, "both": joined}.get(asked, 3 * text_vector + photo_vector)
    scores = gallery @ query / np.linalg.norm(query)
    if asked == "text":  # words alone: half of the mean cosine to the eight training captions is off
        known = pair.embed_texts([text for one in engine.manifest.split("train") for text in one.captions])
        assert len(known) == 8
        scores = scores - (gallery @ known.T).mean(axis=1) / 2

    text, image = (None if asked == "photo" else WORDS), (None if asked == "text" else photo)
    hits = engine.search(text, image, model=model, k=4, text_weight=0.75 if asked == "mostly text" else None)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:4], atol=2e-3)
    by_id = dict(zip(engine.photos, scores, strict=True))
    np.testing.assert_allclose([hit.score for hit in hits], [by_id[hit.photo.id] for hit in hits], atol=2e-3)


def test_a_photo_of_the_run_finds_itself_in_every_precision(engine: PhotoSearch) -> None:
    itself = engine.manifest.photos[7]
    for model, least in (("scratch", 0.98), ("fusion", 0.98), ("pretrained", 0.9)):
        assert engine.precisions(model) == ["fp32", "fp16"]
        for precision in engine.precisions(model):
            hit, *_ = engine.search(photo=load_photo(itself.path), model=model, precision=precision)
            assert hit.photo == itself and hit.score > least, (model, precision)


def test_the_backbone_of_the_pretrained_towers_is_compiled_once(
    engine: PhotoSearch, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    compile_graph = graphs.compile_graph

    def noted(model: ov.Model, *rest: Any) -> ov.CompiledModel:
        compiled.append(len(model.inputs[0].partial_shape))
        return compile_graph(model, *rest)

    monkeypatch.setattr(graphs, "compile_graph", noted)
    fresh = PhotoSearch(engine.outputs)
    fresh.search(photo=photo, model="pretrained")
    fresh.caption(photo)
    assert compiled.count(4) == 1  # what takes photos (B, S, S, 3)


def test_captions_are_those_of_pytorch(engine: PhotoSearch, photo: Image.Image) -> None:
    expected = load_captioner(engine.outputs / CAPTIONER)
    for image in (photo, load_photo(engine.manifest.photos[0].path)):
        assert engine.caption(image) == expected.caption(image)


def test_a_photo_is_looked_at_once_for_models_and_captioner(engine: PhotoSearch, tmp_path: Path) -> None:
    looks = []
    for backbone in (engine.pair("pretrained").backbone, engine.pair("fusion").backbone):
        backbone._backbone.register_forward_hook(lambda *_: looks.append(1))
    new = load_photo(draw_photo(tmp_path / "new.png", 1234))
    engine.search(photo=new, model="pretrained")
    seen = len(looks)
    assert seen > 0
    engine.caption(new)
    engine.search("in the snow", new, model="pretrained")
    engine.search(photo=new, model="fusion")
    assert len(looks) == seen


def test_more_hits_than_photos_gives_all_photos(engine: PhotoSearch) -> None:
    hits = engine.search("a dog", k=100)
    assert {hit.photo.id for hit in hits} == set(engine.photos) and len(hits) == COUNT
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_not_wanted_counts_against_a_photo(
    engine: PhotoSearch, in_pytorch: dict[str, tuple[Any, np.ndarray]], model: str
) -> None:
    pair, gallery = in_pytorch[model]
    known = pair.embed_texts([text for one in engine.manifest.split("train") for text in one.captions])
    crowds = (gallery @ known.T).mean(axis=1)
    wanted, unwanted = (gallery @ pair.embed_texts([text])[0] - crowds / 2 for text in (WORDS, "two cats"))
    expected = wanted - UNWANTED * unwanted
    hits = engine.search(WORDS, without="two cats", model=model, k=4)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1][:4], atol=2e-3)
    by_id = dict(zip(engine.photos, expected, strict=True))
    np.testing.assert_allclose([hit.score for hit in hits], [by_id[hit.photo.id] for hit in hits], atol=2e-3)


def test_neighbours_of_a_photo_are_the_nearest_vectors_without_itself(
    engine: PhotoSearch, in_pytorch: dict[str, tuple[Any, np.ndarray]]
) -> None:
    gallery, ids = in_pytorch["pretrained"][1], list(engine.photos)
    cosines = gallery @ gallery[3]
    cosines[3] = -1
    hits = engine.like(ids[3], k=5)
    assert len(hits) == 5 and ids[3] not in [hit.photo.id for hit in hits]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosines)[::-1][:5], atol=2e-3)
    assert len(engine.like(ids[3], k=100)) == COUNT - 1
    whole = engine.search("a dog", k=COUNT)
    asks = whole[1].photo.id
    assert engine.search("a dog", k=4, leave_out=asks) == [whole[0], *whole[2:5]]
    assert len(engine.search("a dog", k=COUNT, leave_out=asks)) == COUNT - 1
    with pytest.raises(InputError, match="is not in the index of 12 entries"):
        engine.like("nothing.jpg")


def test_what_cannot_be_asked_is_refused_in_a_sentence(engine: PhotoSearch, photo: Image.Image) -> None:
    for query, message in [
        ({}, "text, a photo or both"),
        ({"text": " ?! "}, "has no words"),
        ({"text": "a dog", "model": "clip"}, "no model 'clip'"),
        ({"text": "a dog", "precision": "fp8"}, "no precision 'fp8'"),
        ({"text": "a dog", "k": 0}, "at least 1"),
        ({"text": "a dog", "photo": photo, "text_weight": 1.5}, "from 0 to 1"),
    ]:
        with pytest.raises(InputError, match=message):
            engine.search(**query)


def test_an_unfinished_run_says_what_to_do(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run notebook 01_download first"):
        PhotoSearch(tmp_path)
    outputs = tmp_path / "run"
    shutil.copytree(tiny_run, outputs)
    shutil.rmtree(outputs / MODELS["fusion"] / "vector_db")
    engine = PhotoSearch(outputs)
    assert engine.models == ["pretrained", "scratch"]
    with pytest.raises(InputError, match="run notebook 06_search first"):
        engine.search("a dog", model="fusion")
    (outputs / "openvino" / "efficientnet_lite0_fp16.xml").unlink()
    assert engine.precisions("scratch") == ["fp32", "fp16"] and engine.precisions("pretrained") == ["fp32"]
    shutil.rmtree(outputs / MODELS["scratch"] / "vector_db")
    shutil.rmtree(outputs / MODELS["pretrained"] / "vector_db")
    with pytest.raises(InputError, match="run the chain up to notebook 06_search"):
        _ = PhotoSearch(outputs).models


def test_an_index_of_an_earlier_training_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "run"
    shutil.copytree(tiny_run, outputs)
    weights = outputs / MODELS["scratch"] / "best_multimodal_model.pth"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(InputError, match="built by another model"):
        PhotoSearch(outputs).index("scratch")


# --- Answers as HTML --------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would make of a piece of HTML: elements with their attributes, and the text outside of them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_an_answer_shows_query_photos_cosines_and_captions(engine: PhotoSearch) -> None:
    page = Page(answer_html(engine, WORDS, k=3))
    hits = engine.search(WORDS, k=3)
    assert WORDS in page.text and f"3 of {COUNT} photos in" in page.text
    for hit, image in zip(hits, page.attributes("img"), strict=True):
        assert f"{hit.score:.2f}" in page.text
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).convert("RGB"))
        original = np.asarray(Image.open(hit.photo.path).resize(shown.shape[1::-1]))
        assert np.abs(shown.astype(int) - original).mean() < 8  # the same photo, made small
        assert image["alt"].replace(".", " .") == hit.photo.captions[0]
        assert all(caption.replace(" ,", ",").replace(" .", ".") in page.text for caption in hit.photo.captions)


def test_an_answer_to_a_photo_has_the_photo_and_a_caption(engine: PhotoSearch, photo: Image.Image) -> None:
    page = Page(answer_html(engine, photo=photo, k=2))
    assert engine.caption(photo) in page.text and len(page.attributes("img")) == 3
    assert page.attributes("img")[0]["src"] == data_uri(as_jpeg(photo))


def test_captions_and_queries_cannot_bring_their_own_html(engine: PhotoSearch) -> None:
    page = Page(answer_html(engine, "<img src=x onerror=alert(1)> a dog", k=COUNT))
    assert "<img src=x onerror=alert(1)> a dog" in page.text
    assert NASTY.removesuffix(" .") in page.text
    assert {tag for tag, _ in page.elements} == {
        "div",
        "q",
        "span",
        "ol",
        "li",
        "img",
        "p",
        "b",
        "details",
        "summary",
        "ul",
    }
    assert all(set(image) == {"src", "alt"} for image in page.attributes("img"))
    assert NASTY.replace(" .", ".") in [image["alt"] for image in page.attributes("img")]
    assert NASTY.removesuffix(" .") in Page(welcome_html(engine)).text
    assert Page(message_html(NASTY)).text == NASTY


def test_uploads_of_any_kind_become_photos_or_a_sentence(tmp_path: Path) -> None:
    whole = draw_photo(tmp_path / "photo.jpg", 5).read_bytes()
    assert read_upload("photo.jpg", whole).size == (320, 160)
    large = io.BytesIO()
    Image.new("CMYK", (4000, 3000)).save(large, "JPEG")
    assert read_upload("large.jpg", large.getvalue()).size == (640, 480)
    for name, content, message in [
        ("empty.jpg", b"", "^empty.jpg is empty; replace it or take it out.$"),
        ("notes.txt", b"Hello", "^notes.txt is not an image; "),
        ("torn.jpg", whole[: len(whole) // 2], "^torn.jpg cannot be read as a photo "),
        ("../../etc/passwd", b"Hello", "^../../etc/passwd is not an image; "),
    ]:
        with pytest.raises(InputError, match=message):
            read_upload(name, content)


# --- The panel, without a browser -------------------------------------------------------------------------------


def test_the_panel_answers_what_its_controls_say(engine: PhotoSearch, photo: Image.Image) -> None:
    panel = SearchPanel(engine, "scratch", k=4)
    assert panel.model.options == ("pretrained", "scratch", "fusion") and panel.forget.layout.display == "none"
    assert len(Page(panel.answer.value).attributes("img")) == 4  # before a query: some photos
    panel.search.click()
    assert "needs a text, a photo or both" in panel.answer.value and "<img" not in panel.answer.value
    panel.words.value = WORDS
    shown = Page(panel.answer.value)
    assert [f"{hit.score:.2f}" in shown.text for hit in engine.search(WORDS, model="scratch", k=4)] == [True] * 4
    panel.model.value, panel.count.value = "fusion", 8
    shown = Page(panel.answer.value)
    hits = engine.search(WORDS, model="fusion", k=8)
    assert [image["alt"] for image in shown.attributes("img")] == [h.photo.captions[0].replace(" .", ".") for h in hits]

    content = io.BytesIO()
    photo.save(content, "PNG")
    file = {"name": "p.png", "type": "image/png", "size": 1, "content": content.getvalue()}
    file["last_modified"] = datetime.now(UTC)
    panel.upload.value = (file,)
    shown = Page(panel.answer.value)
    assert "Your photo and" in shown.text and engine.caption(photo) in shown.text and panel.upload.value == ()
    assert panel.forget.layout.display is None
    panel.upload.value = (file | {"name": "p.txt", "content": b"x"},)
    assert Page(panel.answer.value).text == "p.txt is not an image; replace it or take it out."
    panel.forget.click()
    assert "Your photo" not in panel.answer.value and WORDS in panel.answer.value
    panel.words.value = "  "
    assert "needs a text, a photo or both" in panel.answer.value
