import json
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.artefacts import CHECKSUMS
from helpers.data.datasets import download, prepare, random_split
from helpers.data.manifest import load_manifest
from helpers.files import InputError, write_json
from helpers.profiles import Profile, get_profile


def own_profile(tmp_path: Path, captions: Path, classes: Path) -> Profile:
    return get_profile(
        "sample", outputs_dir=str(tmp_path / "out"), captions_folder=str(captions), classes_folder=str(classes)
    )


def test_manifest_of_own_folders_round_trips(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    manifest, sources = prepare(profile)
    manifest.save(profile.outputs)
    assert load_manifest(profile.outputs) == manifest
    assert [len(manifest.split(split)) for split in ("train", "val", "test")] == [10, 1, 1]
    assert manifest.classes == ["cane", "gatto"]
    assert set(sources) == {str(captioned_folder), str(class_folder)}


@pytest.mark.parametrize(
    ("name", "value", "reason"), [("split", "tset", "photos.0.split"), ("path", "x" * 5000, "is gone")]
)
def test_a_manifest_of_odd_photos_is_refused(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, name: str, value: str, reason: str
) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    prepare(profile)[0].save(profile.outputs)
    file = profile.outputs / "dataset" / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["photos"][0][name] = value
    write_json(file, content)
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(InputError, match=reason):
        load_manifest(profile.outputs)


def test_unreadable_photos_are_left_out_and_named(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    train = next(photo for photo in prepare(profile)[0].photos if photo.split == "train")
    train.path.write_bytes(b"")
    manifest, _ = prepare(profile)
    assert train.id not in {photo.id for photo in manifest.photos}
    assert any(train.id in notice and "is empty" in notice for notice in manifest.notices)


def test_a_split_without_photos_is_refused(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    for photo in prepare(profile)[0].split("val"):
        photo.path.write_bytes(b"torn")
    with pytest.raises(InputError, match="No usable photo is left in the val split"):
        prepare(profile)


def test_a_class_that_loses_its_photos_to_damage_is_named(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    for photo in sorted((class_folder / "raw-img" / "gatto").iterdir())[:4]:
        photo.write_bytes(b"torn")
    with pytest.raises(InputError, match=r"too few photos in gatto \(8\)"):
        prepare(own_profile(tmp_path, captioned_folder, class_folder))


def test_a_repaired_photo_stays_and_is_named(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    photo = captioned_folder / "Images" / "photo_03.jpg"
    photo.write_bytes(photo.read_bytes()[:-2])
    manifest, _ = prepare(own_profile(tmp_path, captioned_folder, class_folder))
    assert len(manifest.photos) == 12
    assert any(notice.startswith(f"{photo}: the end of its file is missing") for notice in manifest.notices)


def test_missing_own_folder_is_named(tmp_path: Path, class_folder: Path) -> None:
    with pytest.raises(InputError, match="correct the setting captions_folder"):
        prepare(own_profile(tmp_path, tmp_path / "nowhere", class_folder))
    with pytest.raises(InputError, match="correct the setting captions_folder"):
        prepare(own_profile(tmp_path, tmp_path / ("x" * 5000), class_folder))


def test_manifest_before_notebook_01_and_after_photos_moved(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    with pytest.raises(InputError, match="run notebook 01_download first"):
        load_manifest(profile.outputs)
    prepare(profile)[0].save(profile.outputs)
    captioned_folder.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="is gone since notebook 01_download"):
        load_manifest(profile.outputs)


def test_random_split_repeats_and_never_shares_a_photo() -> None:
    paths = [Path(f"{number}.jpg") for number in range(50)]
    split = random_split(paths, 1)
    assert split == random_split(reversed(paths), 1)
    assert split != random_split(paths, 2)
    assert [list(split.values()).count(name) for name in ("train", "val", "test")] == [40, 5, 5]
    with pytest.raises(InputError, match="too few"):
        random_split(paths[:9], 1)


def test_failed_download_names_the_data_set_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    def refuse(handle: str) -> str:
        raise ConnectionError("no route to host\nand forty lines more")

    monkeypatch.setattr(kagglehub, "dataset_download", refuse)
    monkeypatch.setattr("helpers.downloads.PAUSES", ())
    with pytest.raises(InputError, match=r"photos/versions/1 .*connection broke off.*captions_folder") as caught:
        download("someone/photos/versions/1", "captions_folder")
    assert "\n" not in str(caught.value)


def test_cached_kaggle_copy_needs_no_network(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(cache))
    photos = cache / "datasets/adityajn105/flickr8k/versions/1"
    split = cache / "datasets/shtvkumar/karpathy-splits/versions/1"
    split.mkdir(parents=True)
    photos.parent.mkdir(parents=True)
    captioned_folder.rename(photos)
    for folder in (photos, split):
        (folder.parent.parent / "1.complete").touch()
    splits = ["train"] * 8 + ["val"] * 2 + ["test", "test"]
    images = [{"filename": f"photo_{n:02d}.jpg", "split": name} for n, name in enumerate(splits)]
    write_json(split / "dataset_flickr8k.json", {"images": [*images, {"filename": "z.jpg", "split": "train"}]})
    profile = replace(get_profile("flickr8k", classes_folder=str(class_folder)))
    manifest, sources = prepare(profile)
    assert [len(manifest.split(name)) for name in ("train", "val", "test")] == [8, 2, 2]
    assert any("1 photos of the split file are not in" in notice for notice in manifest.notices)
    assert str(split / "dataset_flickr8k.json") in sources


def test_other_kaggle_sets_need_only_their_handles(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    cached = {"one/photos/versions/1": str(captioned_folder), "two/animals/versions/3": str(class_folder)}
    monkeypatch.setattr(kagglehub, "dataset_download", cached.__getitem__)
    handles = {"captions_handle": "one/photos/versions/1", "classes_handle": "two/animals/versions/3"}
    manifest, sources = prepare(get_profile("sample", data_dir=str(tmp_path), **handles))
    assert len(manifest.photos) == 12 and manifest.split("test")
    assert manifest.classes == ["cane", "gatto"]
    assert set(sources) == {str(captioned_folder), str(class_folder)}
