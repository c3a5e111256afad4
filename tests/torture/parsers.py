"""What the fuzzer feeds: every parser and loader, where its inputs come from, and what a right result is.

A parser takes the bytes of one odd input. It returns if it made something right of them, raises `InputError` if it
refused them, and does anything else only if it has a fault.
"""

import json
import os
import shutil
import struct
import tarfile
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torture.mutations import damage, odd_archive, odd_json, odd_pickle, odd_text

from helpers.captioning.captioner import load_captioner
from helpers.chain.freshness import load_records
from helpers.data.descriptions import class_descriptions
from helpers.data.images import find_photos, load_photo
from helpers.data.layouts import read_captioned
from helpers.data.left_out import Findings
from helpers.data.manifest import ROOTS, SPLITS, load_manifest
from helpers.data.readers.karpathy import read_karpathy_split
from helpers.data.text import load_tokenizer
from helpers.encoders.dual_encoder import WEIGHTS, load_dual_encoder
from helpers.encoders.fusion import load_fusion
from helpers.encoders.pretrained import load_pretrained_pair
from helpers.encoders.sentence_encoder import saved_sentences
from helpers.encoders.training import EncoderSettings
from helpers.environment import located
from helpers.features.store import load_features
from helpers.files import CHECKPOINT, InputError, load_pickle, read_json, save_pickle, write_json
from helpers.graphs import read_graph
from helpers.profiles import SETTING_NAMES, chosen_profile, get_profile
from helpers.search.engine import CAPTIONER, MODELS, PhotoSearch
from helpers.search.index import SearchIndex
from helpers.search.page import answer_html
from helpers.training.loop import Training
from helpers.training.optimizer import adamw
from run_all import STAGES, parse_settings

Make = Callable[[Random], bytes]
Parse = Callable[[bytes], object]


class Parser(NamedTuple):
    """A parser under attack."""

    count: int  # inputs in the long form
    seconds: float  # of processor time that one input may take
    mebibytes: int  # of memory that one input may take
    prepare: Callable[[Path, Path], tuple[Make, Parse]]  # an empty folder and a finished run -> its inputs, and itself


def _damaged(*seeds: bytes) -> Make:
    return lambda random: damage(random.choice(seeds), random, seeds)


def _json(*seeds: object) -> Make:
    texts = [json.dumps(seed).encode() for seed in seeds]
    return lambda random: odd_json(random.choice(texts), random)


def _in_file(path: Path, parse: Callable[[], object]) -> Parse:
    """`parse` of what lies at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def parse_content(content: bytes) -> object:
        path.write_bytes(content)
        return parse()

    return parse_content


# --- What people bring ---


def captions(folder: Path, run: Path) -> tuple[Make, Parse]:
    (folder / "Images").mkdir()
    for name in ("a.jpg", "b.png", "é.jpg"):
        Image.new("RGB", (2, 2)).save(folder / "Images" / name)
    rows = ('a.jpg,"A dog , brown , runs ."', "b.png,Two dogs .", 'é.jpg,"A ""big"" cat\nsleeps"', "a.jpg,A dog .")
    table = "\n".join(("image,caption", *rows))

    seeds = [table.encode(encoding) for encoding in ("utf-8", "utf-16", "cp1252", "utf-8-sig")]
    return _damaged(*seeds), _in_file(folder / "captions.txt", lambda: _bring(folder))


def _bring(folder: Path) -> None:
    """Read a folder of captioned photos, and see that what comes is whole."""
    findings = Findings()
    found = read_captioned(folder, findings, scratch=folder / "scratch")
    assert found.captions and all(path.is_file() for path in found.captions)
    assert set(found.splits.values()) <= set(SPLITS)
    for texts in found.captions.values():
        assert texts and all(text == " ".join(text.split()) and len(text) <= 10_000 for text in texts)
    assert all("\n" not in sentence for sentence in findings.sentences)


def records(folder: Path, run: Path, lines: bool) -> tuple[Make, Parse]:
    for name in ("a.jpg", "é.png"):
        (folder / name).touch()
    rows = [
        {"file_name": name, "text": "A dog , brown .", "id": n} for n, name in enumerate(("a.jpg", "é.png", "a.jpg"))
    ]
    if lines:
        text = "\n".join(json.dumps(row) for row in rows)
        return _damaged(text.encode()), _in_file(folder / "metadata.jsonl", lambda: _bring(folder))
    captions = {row["file_name"]: [row["text"], "Two ."] for row in rows}
    return _json(rows, captions, {"data": rows}), _in_file(folder / "data.json", lambda: _bring(folder))


def token_file(folder: Path, run: Path) -> tuple[Make, Parse]:
    for name in ("a.jpg", "é.png"):
        (folder / name).touch()
    lines = "".join(f"{name}#{n}\tA dog , {n} .\n" for name in ("a.jpg", "é.png") for n in range(3))
    return _damaged(lines.encode()), _in_file(folder / "Flickr8k.token.txt", lambda: _bring(folder))


def shard(folder: Path, run: Path) -> tuple[Make, Parse]:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in (("0.jpg", b"jpeg"), ("0.txt", b"A dog ."), ("1.jpg", b"jpeg"), ("1.txt", b"A cat .")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))

    def parse() -> None:
        try:
            _bring(folder)
        finally:
            shutil.rmtree(folder / "scratch", ignore_errors=True)

    return _damaged(packed.getvalue()), _in_file(folder / "0.tar", parse)


def splits(folder: Path, run: Path) -> tuple[Make, Parse]:
    images = [{"filename": f"{n}.jpg", "split": split, "sentids": [n]} for n, split in enumerate((*SPLITS, "restval"))]
    numbered = [{"filename": "COCO_val2014_000000000139.jpg", "cocoid": 139, "split": "test"}]
    file = folder / "dataset.json"

    def parse() -> None:
        assert set(read_karpathy_split(file).values()) <= set(SPLITS)

    return _json({"images": images, "dataset": "x"}, {"images": numbered}), _in_file(file, parse)


def coco(folder: Path, run: Path) -> tuple[Make, Parse]:
    for name in ("1.jpg", "2.jpg"):
        (folder / "train2017").mkdir(exist_ok=True)
        (folder / "train2017" / name).touch()
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 4} for n in (1, 2)],
        "annotations": [{"image_id": n, "id": n + 7, "caption": f"A dog, {n}."} for n in (1, 2)],
    }

    return _json(content), _in_file(folder / "annotations" / "captions_train2017.json", lambda: _bring(folder))


def descriptions(folder: Path, run: Path, suffix: str) -> tuple[Make, Parse]:
    file = folder / f"own{suffix}"
    own = {"leopard": ["spotted: all over", "it climbs"], "dog": ["barks"]}
    lines = "\n".join(f"{label}: {text}" for label, texts in own.items() for text in texts)

    def parse() -> None:
        found = class_descriptions(["leopard", "cane"], file)
        assert all(texts and all(isinstance(text, str) and text.strip() for text in texts) for texts in found.values())

    return _json(own) if suffix == ".json" else _damaged(lines.encode()), _in_file(file, parse)


def _png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def hostile_photos() -> list[bytes]:
    """Bombs, films, files of two kinds, scripts and very long notes."""
    film = BytesIO()
    frames = [Image.new("L", (16, 16), number % 256) for number in range(5000)]
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    noted, plain = BytesIO(), BytesIO()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "<script>" * 8000, 6
    Image.new("RGB", (64, 48), "teal").save(noted, "JPEG", exif=exif)
    Image.new("RGB", (64, 48), "teal").save(plain, "JPEG", progressive=True)
    size = [struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0) for side in (30_000, 9_990)]
    zeros = zlib.compress(bytes(50_000_000), 9)
    return [
        film.getvalue(),
        noted.getvalue(),
        plain.getvalue() + b"<html><script>alert(1)</script></html>",
        b"%PDF-1.4\n" + plain.getvalue(),
        b"GIF89a/*" + plain.getvalue() + b"*/=1;",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        *(_png([(b"IHDR", header), (b"IDAT", zeros), (b"IEND", b"")]) for header in size),
        _png([(b"IHDR", size[0]), (b"zTXt", b"a\0\0" + zeros), (b"IEND", b"")]),
        plain.getvalue()[:-2] * 400,
        b"BM" + bytes(60),
        b"P6 99999 99999 255\n",
        b"",
    ]


def photos(folder: Path, run: Path) -> tuple[Make, Parse]:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    picture, seeds = Image.fromarray(noise), []
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000", "PPM")
    modes = {"JPEG": ("RGB", "CMYK", "L"), "PNG": ("RGBA", "P", "LA", "1"), "TIFF": ("RGB", "CMYK", "LAB", "F", "I;16")}
    for kind in kinds:
        for mode in modes.get(kind, ("RGB",)):
            file = BytesIO()
            if mode == "LAB":
                Image.new("LAB", (32, 24)).save(file, kind)
            elif mode == "I;16":
                Image.fromarray(noise[..., 0].astype(np.uint16) << 4).save(file, kind)
            else:
                picture.convert("RGB").convert(mode).save(file, kind)
            seeds.append(file.getvalue())
    for options in ({"progressive": True}, {"quality": 30, "optimize": True}):
        file = BytesIO()
        picture.convert("RGB").save(file, "JPEG", **options)
        seeds.append(file.getvalue())
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"):
        file = BytesIO()
        picture.convert("1" if compression == "group4" else "RGB").save(file, "TIFF", compression=compression)
        seeds.append(file.getvalue())
    hostile = hostile_photos()
    path = folder / "photo.jpg"

    def make(random: Random) -> bytes:
        if random.random() < 0.005:
            one = random.choice(hostile)
            return one if random.random() < 0.5 else damage(one, random)
        return damage(random.choice(seeds), random, seeds)

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        assert find_photos(folder).photos == [path]
        photo = load_photo(path, 16 if len(content) % 2 else None)
        assert type(photo) is Image.Image and photo.mode == "RGB" and not photo.info.keys() - {"notice"}
        assert photo.getpixel((photo.width - 1, photo.height - 1))

    return make, parse


# --- What a run leaves ---


def manifest(folder: Path, run: Path) -> tuple[Make, Parse]:
    content = json.loads((run / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    content["photos"] = content["photos"][:3]
    content["class_photos"] = [{"id": "cane/1", "path": content["photos"][0]["path"], "label": "cane", "split": "val"}]
    root = str(located(read_json(run / "dataset" / ROOTS)["photos"]))
    write_json(folder / "dataset" / ROOTS, dict.fromkeys(("photos", "class_photos"), root))

    def parse() -> None:
        found = load_manifest(folder)
        for photo in found.photos:
            assert isinstance(photo.path, Path) and photo.split in SPLITS
            assert all(isinstance(caption, str) for caption in photo.captions)
        assert all(photo.split in SPLITS and isinstance(photo.label, str) for photo in found.class_photos)

    return _json(content), _in_file(folder / "dataset" / "manifest.json", parse)


def run_state(folder: Path, run: Path) -> tuple[Make, Parse]:
    record = {"seconds": 3.5, "memory": 10**8, "headline": {"a": 1}, "finished": "now", "files": {"a": [1, 2]}}
    file = folder / "run_state.json"

    def parse() -> None:
        assert isinstance(load_records(file), dict)

    return _json({"01": record, "03a": record}), _in_file(file, parse)


def _model_folder(run: Path, name: str, folder: Path) -> Path:
    """A copy of a model that nobody sealed, since a checksum would end most attacks at the door."""
    shutil.copytree(run / name, folder / name)
    (folder / name / "checksums.json").unlink(missing_ok=True)
    return folder / name


LOADERS = {
    CAPTIONER: load_captioner,
    MODELS["scratch"]: load_dual_encoder,
    MODELS["pretrained"]: load_pretrained_pair,
    MODELS["fusion"]: load_fusion,
}


def config(folder: Path, run: Path, name: str) -> tuple[Make, Parse]:
    home = _model_folder(run, name, folder)
    content = json.loads((home / "config.json").read_text(encoding="utf-8"))
    return _json(content), _in_file(home / "config.json", partial(LOADERS[name], home))


def weights(folder: Path, run: Path, name: str) -> tuple[Make, Parse]:
    home = _model_folder(run, name, folder)
    (file,) = [path for path in (home / "weights.pt", home / WEIGHTS) if path.exists()]
    content = file.read_bytes()
    return partial(odd_archive, content), _in_file(file, partial(LOADERS[name], home))


class _Line(Training):
    """A training that takes a millisecond: a straight line through three points."""

    def loss_of(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        return (
            (self.model(torch.ones(len(rows), 2)) - torch.from_numpy(rng.random((len(rows), 3), np.float32)))
            .square()
            .mean()
        )

    def judge(self) -> tuple[dict[str, float], float]:
        return {"accuracy": 1.0}, float(len(self.epochs))


def checkpoint(folder: Path, run: Path) -> tuple[Make, Parse]:
    file = folder / CHECKPOINT

    def train(epochs: int) -> dict:
        torch.manual_seed(0)
        model = nn.Linear(2, 3)
        settings = EncoderSettings(epochs=epochs, batch=2)
        return _Line(model, adamw(model.parameters(), 1e-3, 1e-4), settings, 6).run(folder, "this run")

    train(2)
    content = file.read_bytes()

    def parse() -> None:
        history = train(3)
        assert len(history["epochs"]) == 3 and 1 <= history["best_epoch"] <= 3
        assert all(epoch["seconds"] > 0 for epoch in history["epochs"])

    return partial(odd_archive, content), _in_file(file, parse)


def sentences(folder: Path, run: Path, name: str, done: int) -> tuple[Make, Parse]:
    """Vectors of sentences that are `done`: all of them, not sealed, or so many, as a killed run leaves them."""
    texts = [f"a dog in the snow , {number}" for number in range(3)]
    saved = np.array(saved_sentences(texts, folder / "texts.npy"))
    (folder / "checksums.json").unlink()
    note = read_json(folder / "texts.json") | {"done": done}
    write_json(folder / "texts.json", note)
    whole = {file: (folder / file).read_bytes() for file in ("texts.npy", "texts.json")}

    def parse(content: bytes) -> None:
        for file, was in whole.items():
            (folder / file).write_bytes(content if file == name else was)
        (folder / "checksums.json").unlink(missing_ok=True)
        vectors = saved_sentences(texts, folder / "texts.npy")
        assert vectors.dtype == np.float32 and len(vectors) == 3
        if done < 3 and name.endswith(".json"):  # what had been done is as it was
            assert np.allclose(vectors, saved, atol=1e-6)

    seed = whole[name]
    return partial(odd_json, seed) if name.endswith(".json") else _damaged(seed), parse


def tokenizer(folder: Path, run: Path) -> tuple[Make, Parse]:
    home = _model_folder(run, CAPTIONER, folder)

    def parse() -> None:
        loaded = load_tokenizer(home)
        assert loaded.vocab_size > 0
        ids = loaded.encode("a dog runs in the snow", 12)
        assert isinstance(loaded.decode(ids), str)

    return _json(json.loads((home / "tokenizer.json").read_text())), _in_file(home / "tokenizer.json", parse)


def index(folder: Path, run: Path, name: str) -> tuple[Make, Parse]:
    home = _model_folder(run, f"{MODELS['fusion']}/vector_db", folder)
    fingerprint = PhotoSearch(run).fingerprint("fusion")
    content = (home / name).read_bytes()

    def parse() -> None:
        loaded = SearchIndex.load(home, fingerprint)
        scores, ids = loaded.search(np.ones((1, loaded.width), np.float32), 3)
        assert np.isfinite(scores).all() and all(isinstance(one, str) for one in ids[0])

    make = partial(odd_json, content) if name.endswith(".json") else _damaged(content)
    return make, _in_file(home / name, parse)


def features(folder: Path, run: Path, name: str) -> tuple[Make, Parse]:
    vectors = np.arange(24, dtype=np.float32).reshape(3, 8)
    ids = ["a.jpg", "b.jpg", "c.jpg"]
    save_pickle(folder / "eye.pkl", dict(zip(ids, vectors, strict=True)))
    np.save(folder / "eye_grid.npy", np.zeros((3, 4, 8), np.float16))
    write_json(
        folder / "eye_grid.json", {"ids": ids, "backbone": "eye", "photo_size": "8", "weights": "a", "photos": "b"}
    )
    content = (folder / name).read_bytes()

    def parse() -> None:
        loaded = load_features(folder, "eye")
        assert loaded.vectors.dtype == np.float32 and len(loaded.vectors) == len(loaded.ids) == len(loaded.grid)
        assert np.asarray(loaded.grid[0]).size >= 0

    makes = {".pkl": partial(odd_pickle, content), ".npy": _damaged(content), ".json": partial(odd_json, content)}
    return makes[Path(name).suffix], _in_file(folder / name, parse)


def pickles(folder: Path, run: Path) -> tuple[Make, Parse]:
    import pickle

    arrays = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 3), ">i4"), "c": np.float64(3)}
    seeds = [pickle.dumps(arrays, protocol) for protocol in (2, 4, 5)]
    file = folder / "some.pkl"
    make = lambda random: odd_pickle(random.choice(seeds), random)  # noqa: E731
    return make, _in_file(file, partial(load_pickle, file))


def graph(folder: Path, run: Path, suffix: str) -> tuple[Make, Parse]:
    for kind in (".xml", ".bin"):
        shutil.copy(run / MODELS["fusion"] / f"fusion{kind}", folder)
    content = (folder / f"fusion{suffix}").read_bytes()
    return _damaged(content), _in_file(folder / f"fusion{suffix}", partial(read_graph, folder / "fusion.xml"))


# --- What people type ---


def parameters(folder: Path, run: Path) -> tuple[Make, Parse]:
    from torture.mutations import VALUES

    def make(random: Random) -> bytes:
        profile = random.choice(("sample", "coco")) if random.random() < 0.9 else random.choice(VALUES)
        names = {random.choice((*SETTING_NAMES, "backbone", "nosuch")): random.choice(VALUES)}
        return repr({"profile": profile} | names).encode()

    def parse(content: bytes) -> None:
        names = eval(content.decode(), {"nan": float("nan"), "inf": float("inf")})  # what `make` wrote
        profile = chosen_profile(names)
        assert 1 <= profile.beam <= 100 and 0 <= profile.seed < 2**32 and profile.caption_batch > 1

    return make, parse


def settings(folder: Path, run: Path) -> tuple[Make, Parse]:
    names = [*SETTING_NAMES, "backbone", "own_photo", "nosuch", "", "profile"]

    def make(random: Random) -> bytes:
        value = random.choice(
            ("5", "0", "-1", "1e9", "five", "all", "None", "True", "[1]", "2024", "(" * 900, "1" * 9000)
        )
        text = value if random.random() < 0.6 else odd_text(random)[:2000]
        return (random.choice(names) + random.choice(("=", "=", "=", "", "==")) + text).encode("utf-8", "replace")

    def parse(content: bytes) -> None:
        given = parse_settings([content.decode()], STAGES)
        get_profile("sample", **{name: value for name, value in given.items() if name in (*SETTING_NAMES, "backbone")})

    return make, parse


def queries(folder: Path, run: Path) -> tuple[Make, Parse]:
    engine = PhotoSearch(run)
    for model in ("scratch", "fusion"):  # loads them
        engine.search("a dog", model=model)

    def parse(content: bytes) -> None:
        text = content.decode("utf-8", "surrogatepass")
        for model in ("scratch", "fusion"):
            hits = engine.search(text, model=model, k=3)
            assert len(hits) == 3 and np.isfinite([hit.score for hit in hits]).all()
        if len(content) < 200:
            assert "<script" not in answer_html(engine, text, model="scratch", k=2)

    return lambda random: odd_text(random).encode("utf-8", "surrogatepass"), parse


PARSERS: dict[str, Parser] = {
    "captions.txt": Parser(16_000, 1, 256, captions),
    "split files": Parser(12_000, 1, 256, splits),
    "COCO annotations": Parser(10_000, 1, 256, coco),
    "records, JSON": Parser(4_000, 1, 256, partial(records, lines=False)),
    "records, JSON Lines": Parser(4_000, 1, 256, partial(records, lines=True)),
    "token file": Parser(4_000, 1, 256, token_file),
    "tar of photos": Parser(4_000, 1, 256, shard),
    "descriptions (JSON)": Parser(5_000, 1, 256, partial(descriptions, suffix=".json")),
    "descriptions (text)": Parser(5_000, 1, 256, partial(descriptions, suffix=".txt")),
    "photos of ten formats": Parser(20_000, 5, 2048, photos),
    "manifest.json": Parser(8_000, 1, 256, manifest),
    "run_state.json": Parser(4_000, 1, 256, run_state),
    "features.pkl": Parser(10_000, 1, 256, pickles),
    "features, their pickle": Parser(2_000, 1, 256, partial(features, name="eye.pkl")),
    "features, their grids": Parser(2_000, 1, 256, partial(features, name="eye_grid.npy")),
    "features, their names": Parser(2_000, 1, 256, partial(features, name="eye_grid.json")),
    "config.json of captioners": Parser(600, 5, 1024, partial(config, name=CAPTIONER)),
    "config.json of pairs": Parser(600, 5, 1024, partial(config, name=MODELS["scratch"])),
    "config.json of towers": Parser(300, 5, 1024, partial(config, name=MODELS["pretrained"])),
    "config.json of fusion": Parser(600, 5, 1024, partial(config, name=MODELS["fusion"])),
    "weights of captioners": Parser(600, 5, 1024, partial(weights, name=CAPTIONER)),
    "weights of pairs": Parser(600, 5, 1024, partial(weights, name=MODELS["scratch"])),
    "weights of fusion": Parser(600, 5, 1024, partial(weights, name=MODELS["fusion"])),
    "weights of towers": Parser(300, 5, 1024, partial(weights, name=MODELS["pretrained"])),
    "checkpoint.pt": Parser(3_000, 1, 512, checkpoint),
    "vectors of sentences": Parser(2_000, 1, 512, partial(sentences, name="texts.npy", done=3)),
    "vectors of sentences, some": Parser(2_000, 1, 512, partial(sentences, name="texts.npy", done=1)),
    "vectors of sentences, their note": Parser(2_000, 1, 512, partial(sentences, name="texts.json", done=1)),
    "tokenizer.json": Parser(4_000, 1, 512, tokenizer),
    "index, its metadata": Parser(3_000, 1, 256, partial(index, name="metadata.json")),
    "index, its vectors": Parser(3_000, 1, 256, partial(index, name="faiss_index.bin")),
    "OpenVINO graphs": Parser(800, 5, 1024, partial(graph, suffix=".xml")),
    "OpenVINO weights": Parser(400, 5, 1024, partial(graph, suffix=".bin")),
    "notebook parameters": Parser(8_000, 1, 256, parameters),
    "settings (--set)": Parser(6_000, 1, 256, settings),
    "search queries": Parser(600, 5, 1024, queries),
}


_NUMBERS = {Random(f"0 a bad parser {number}").random(): number for number in range(8)}


def _bad(folder: Path, run: Path) -> tuple[Make, Parse]:
    def parse(content: bytes) -> None:
        number = content[0]
        if number == 1:
            raise InputError("This is refused.")
        if number == 2:
            raise KeyError(number)
        if number == 3:
            os.abort()
        if number == 4:
            time.sleep(60)
        if number == 5:
            bytearray(2**30)
        began = time.process_time()
        while number == 6 and time.process_time() - began < 1.2:
            pass

    return lambda random: bytes([_NUMBERS[random.random()]]), parse


if "FUZZ_A_BAD_PARSER" in os.environ:  # for the test of the fuzzer itself
    PARSERS["a bad parser"] = Parser(8, 1, 256, _bad)
