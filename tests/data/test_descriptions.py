"""Class descriptions: hand-written, from templates, and from a user's file."""

import json
from pathlib import Path
from unicodedata import normalize

import pytest

from helpers.data.descriptions import ENGLISH, class_descriptions, english_name
from helpers.data.text import clean_caption
from helpers.files import InputError


def test_all_ten_classes_have_ten_different_descriptions(capsys: pytest.CaptureFixture) -> None:
    found = class_descriptions(ENGLISH)
    assert list(found) == list(ENGLISH)
    every = [clean_caption(text) for texts in found.values() for text in texts]
    assert [len(texts) for texts in found.values()] == [10] * 10
    assert len(set(every)) == 100
    assert all(4 <= len(text.split()) <= 20 for text in every)
    assert capsys.readouterr().out == ""


def test_english_folders_get_the_same_texts() -> None:
    assert class_descriptions(["Dog"])["Dog"] == class_descriptions(["cane"])["cane"]
    assert english_name("scoiattolo") == "squirrel"


def test_an_unknown_class_gets_templates_and_a_notice(capsys: pytest.CaptureFixture) -> None:
    found = class_descriptions(["cane", "leopard", "ibis"])
    assert "No descriptions of leopard, ibis" in capsys.readouterr().out
    assert len(set(found["leopard"])) == 10
    assert all("leopard" in text for text in found["leopard"])
    assert "a photo of an ibis" in found["ibis"]


@pytest.mark.parametrize("kind", ["json", "txt"])
def test_a_file_adds_a_class_and_replaces_another(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    own = {"leopard": ["a spotted cat: large", "it climbs a tree"], "dog": ["barks"]}
    file = tmp_path / f"own.{kind}"
    lines = [f"{label}: {text}" for label, texts in own.items() for text in texts]
    file.write_text(json.dumps(own) if kind == "json" else "# my animals\n\n" + "\n".join(lines), encoding="utf-8")
    found = class_descriptions(["leopard", "cane", "gatto"], file)
    assert found["leopard"] == own["leopard"]
    assert found["cane"] == ["barks"]
    assert len(found["gatto"]) == 10
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", '{"leopard": []}', "leopard"),
        ("b.json", '{"leopard": [" "]}', "leopard"),
        ("c.json", '{"leopard": "one text"}', "leopard"),
        ("d.json", '{"leopard": ["open', "Invalid JSON"),
        ("e.json", '["leopard"]', "an object"),
        ("f.txt", "leopard: spotted\na line without a class", "Line 2"),
        ("g.txt", "leopard:   ", "Line 1"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        class_descriptions(["leopard"], tmp_path / name)


def test_a_file_of_a_class_whose_name_is_composed_or_not_is_found_and_another_encoding_is_explained(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.txt"
    file.write_text("Élan: it is large", encoding="utf-8")
    for form in ("NFC", "NFD"):
        label = normalize(form, "élan")
        assert class_descriptions([label], file) == {label: ["it is large"]}
    file.write_bytes("élan: il est très grand\nélan: élancé\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"cp1252 gives 'élan: il est très grand', .*'; save it as UTF-8\.$"):
        class_descriptions(["élan"], file)


def test_a_missing_or_binary_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        class_descriptions(["leopard"], tmp_path / "none.json")
    (tmp_path / "photo.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"Line 1 of .*photo\.txt"):
        class_descriptions(["leopard"], tmp_path / "photo.txt")
