"""The manifest comes back as it was saved, and what is none is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_data import write_photo

from helpers.artefacts import seal
from helpers.data.manifest import ClassPhoto, Manifest, Photo, load_manifest
from helpers.files import InputError


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    path = write_photo(tmp_path / "photos" / "a.jpg", (1, 2, 3))
    photos = [Photo("a", path, ("one , two", "ein Schäfchen 犬"), "train"), Photo("b", path, (), "val")]
    return Manifest("small", photos, [ClassPhoto("cane/a", path, "cane", "test")], ["2 photos are gone"])


def test_a_saved_manifest_comes_back(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path)
    assert load_manifest(tmp_path) == manifest


def test_a_manifest_says_where_its_photos_are_beside_which_they_are(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path)
    content = (tmp_path / "dataset" / "manifest.json").read_text()
    assert str(tmp_path) not in content
    moved = (tmp_path / "photos").rename(tmp_path / "elsewhere")
    roots = {"photos": str(moved), "class_photos": str(moved)}
    (tmp_path / "dataset" / "roots.json").write_text(json.dumps(roots))
    assert [photo.path for photo in load_manifest(tmp_path).photos] == [moved / "a.jpg"] * 2
    assert load_manifest(tmp_path).class_photos[0].path == moved / "a.jpg"


def test_a_manifest_of_an_earlier_version_has_whole_paths(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path)
    path = tmp_path / "dataset" / "manifest.json"
    content = json.loads(path.read_text())
    for row in content["photos"] + content["class_photos"]:
        row["path"] = str(tmp_path / "photos" / row["path"])
    path.write_text(json.dumps(content))
    seal(path.parent, path.name)
    path.with_name("roots.json").unlink()
    assert load_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"photos": None}, r"photos: Input should be a valid (list|array)"),
        ({"photos": [{"id": "a"}]}, r"photos\.0\.path: Field required"),
        ({"photos": [{"id": "a", "path": "x", "captions": "one", "split": "train"}]}, r"photos\.0\.captions"),
        ({"class_photos": [3]}, r"class_photos\.0"),
        ({"name": []}, r"name: Input should be a valid string"),
    ],
)
def test_what_is_no_manifest_is_one_sentence(manifest: Manifest, tmp_path: Path, change: Any, said: str) -> None:
    manifest.save(tmp_path)
    path = tmp_path / "dataset" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match="is not as it was written"):
        load_manifest(tmp_path)
    seal(path.parent, path.name)
    with pytest.raises(InputError, match=rf"manifest\.json cannot be used \({said}.*run notebook 01_download again"):
        load_manifest(tmp_path)
    path.write_text("[" * 100_000)
    seal(path.parent, path.name)
    with pytest.raises(InputError, match="recursion limit"):
        load_manifest(tmp_path)


def test_photos_that_are_gone_are_named(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path)
    manifest.photos[0].path.unlink()
    with pytest.raises(InputError, match=r"a\.jpg is gone since notebook 01_download listed it"):
        load_manifest(tmp_path)
    with pytest.raises(InputError, match="run notebook 01_download first"):
        load_manifest(tmp_path / "elsewhere")
