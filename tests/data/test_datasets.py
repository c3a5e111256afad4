import json
import shutil
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib import pyplot as plt
from small_data import write_captions, write_photo

from helpers.artefacts import CHECKSUMS
from helpers.data.datasets import complete_splits, download, prepare, random_split
from helpers.data.left_out import Findings
from helpers.data.manifest import load_manifest
from helpers.environment import portable
from helpers.files import InputError, write_json
from helpers.profiles import Profile, get_profile


def own_profile(tmp_path: Path, captions: Path, classes: Path) -> Profile:
    return get_profile(
        "sample", outputs_dir=str(tmp_path / "out"), captions_folder=str(captions), classes_folder=str(classes)
    )


def test_manifest_of_own_folders_round_trips(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    manifest, sources, _ = prepare(profile)
    manifest.save(profile.outputs)
    assert load_manifest(profile.outputs) == manifest
    assert [len(manifest.split(split)) for split in ("train", "val", "test")] == [6, 3, 3]
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


def test_two_drawings_do_not_touch_each_other(tmp_path: Path) -> None:
    few = {"scenes": 12, "pictures_per_class": 10, "data_dir": str(tmp_path / "data")}
    one = prepare(get_profile("sample", seed=1, **few))[0]
    before = {photo.path: photo.path.read_bytes() for photo in [*one.photos, *one.class_photos]}
    two = prepare(get_profile("sample", seed=2, **few | {"scenes": 10}))[0]
    assert {path: path.read_bytes() for path in before} == before
    assert not before.keys() & {photo.path for photo in [*two.photos, *two.class_photos]}


def test_unreadable_photos_are_left_out_and_named(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    train = next(photo for photo in prepare(profile)[0].photos if photo.split == "train")
    train.path.write_bytes(b"")
    manifest, _, findings = prepare(profile)
    assert train.id not in {photo.id for photo in manifest.photos}
    (one,) = findings.left_out
    assert one[:3] == ("photo", str(train.path), "not usable as a photo") and "is empty" in one.detail
    assert manifest.notices == findings.sentences


def test_letters_that_pictures_cannot_show_are_told(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plt.rcParams, "font.family", ["DejaVu Sans"])
    table = captioned_folder / "captions.txt"
    table.write_text(table.read_text(encoding="utf-8").replace("dog", "一只狗"), encoding="utf-8")
    _, _, findings = prepare(own_profile(tmp_path, captioned_folder, class_folder))
    assert any("No font here has 3 of the captions' letters (一只狗)" in sentence for sentence in findings.sentences)


def test_a_split_without_photos_is_refused(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    manifest = prepare(profile)[0]
    torn = [*manifest.split("train")[1:], *manifest.split("val")]
    for photo in torn:
        photo.path.write_bytes(f"torn {photo.id}".encode())
    with pytest.raises(InputError, match="A single usable photo is left in the train split"):
        prepare(profile)
    write_photo(torn[0].path, (9, 99, 99))
    with pytest.raises(InputError, match="No usable photo is left in the val split"):
        prepare(profile)


def test_a_class_that_loses_its_photos_to_damage_is_named(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    for number in range(12):
        write_photo(class_folder / "raw-img" / "ragno" / f"{number}.jpg", (9, 9 * number, 9))
    for photo in sorted((class_folder / "raw-img" / "gatto").iterdir())[:4]:
        photo.write_bytes(f"torn {photo.name}".encode())
    manifest, _, findings = prepare(own_profile(tmp_path, captioned_folder, class_folder))
    assert manifest.classes == ["cane", "ragno"]
    assert findings.counts == {"photos": 4, "classes": 1}
    assert findings.left_out[-1] == ("class", "gatto", "with fewer than 10 different usable photos", "8 of 12")


def test_a_repaired_photo_stays_and_is_named(tmp_path: Path, captioned_folder: Path, class_folder: Path) -> None:
    photo = captioned_folder / "Images" / "photo_03.jpg"
    photo.write_bytes(photo.read_bytes()[:-2])
    manifest = prepare(own_profile(tmp_path, captioned_folder, class_folder))[0]
    assert len(manifest.photos) == 12
    assert any(notice.startswith(f"{photo}: the end of its file is missing") for notice in manifest.notices)


def test_missing_own_folder_is_named(tmp_path: Path, class_folder: Path) -> None:
    with pytest.raises(InputError, match="correct the setting captions_folder"):
        prepare(own_profile(tmp_path, tmp_path / "nowhere", class_folder))
    with pytest.raises(InputError, match="correct the setting captions_folder"):
        prepare(own_profile(tmp_path, tmp_path / ("x" * 5000), class_folder))


def test_a_plus_without_a_folder_beside_it_is_refused(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    """And does not take the project's own folder for a second data set."""
    with pytest.raises(
        InputError, match=r"captions_folder='.*captioned\+' names no folder beside a \+; take the \+ out"
    ):
        prepare(own_profile(tmp_path, Path(f"{captioned_folder}+"), class_folder))


def test_photos_of_shards_that_are_called_alike_have_names_of_their_own(tmp_path: Path, class_folder: Path) -> None:
    for shard in ("en/train/0.tar", "de/train/0.tar"):
        (tmp_path / "set" / shard).parent.mkdir(parents=True)
        with tarfile.open(tmp_path / "set" / shard, "w") as tar:
            for number in range(6):
                photo = write_photo(tmp_path / "a" / "b" / f"{number}.jpg", (9 * number, ord(shard[0]), 0))
                photo.with_suffix(".txt").write_text(f"A dog in {shard}")
            tar.add(tmp_path / "a", "a")
    profile = get_profile(
        "sample",
        data_dir=str(tmp_path / "data"),
        captions_folder=str(tmp_path / "set"),
        classes_folder=str(class_folder),
    )
    photos = prepare(profile)[0].photos
    assert sorted(photo.id for photo in photos) == sorted(
        f"{shard}/a/b/{number}.jpg" for shard in ("en/train/0.tar", "de/train/0.tar") for number in range(6)
    )
    assert all(photo.captions == (f"A dog in {photo.id.partition('/a/')[0]}",) for photo in photos)


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
    ids = [f"{number}.jpg" for number in range(50)]
    split = random_split(ids, 1)
    assert split == random_split(reversed(ids), 1)
    assert split != random_split(ids, 2)
    assert [list(split.values()).count(name) for name in ("train", "val", "test")] == [40, 5, 5]
    with pytest.raises(InputError, match="too few"):
        random_split(ids[:9], 1)


@pytest.mark.parametrize(("photos", "held_out"), [(10, 3), (29, 3), (39, 3), (40, 4)])
def test_of_few_photos_three_validate_and_three_test(photos: int, held_out: int) -> None:
    """Fewer make no triplet."""
    ids = [f"{number}.jpg" for number in range(photos)]
    splits = [random_split(ids, 1), complete_splits(dict.fromkeys(ids, "train"), 1, Findings())]
    for split in splits:
        counts = Counter(split.values())
        assert counts == {"train": photos - 2 * held_out, "val": held_out, "test": held_out}


def test_a_split_that_is_missing_is_taken_from_training() -> None:
    findings = Findings()
    given = {f"{number}.jpg": "train" if number < 17 else "val" for number in range(20)}
    splits = complete_splits(given, 3, findings)
    assert splits == complete_splits(given, 3, Findings())
    assert Counter(splits.values()) == {"train": 14, "val": 3, "test": 3}
    assert all(given[name] == "train" for name, split in splits.items() if split == "test")
    assert findings.notices == ["The data set has no photos for test; 3 of those to train on are taken."]
    with pytest.raises(InputError, match="0 photos to train on, and none for train and test"):
        complete_splits(dict.fromkeys("abc", "val"), 3, Findings())


def test_a_slice_is_the_same_for_the_same_seed_and_a_part_of_a_larger_one(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    for number in range(12, 40):
        write_photo(captioned_folder / "Images" / f"photo_{number:02d}.jpg", (9, 6 * number, 9))
        write_photo(class_folder / "raw-img" / "cane" / f"{number}.jpg", (6 * number, 9, 9))
    write_captions(captioned_folder, [(f"photo_{number:02d}.jpg", f"A dog {number} .") for number in range(40)])
    profile = own_profile(tmp_path, captioned_folder, class_folder)
    fewest, few, again, more = (prepare(replace(profile, limit=limit))[0] for limit in (10, 20, 20, 30))
    assert few == again
    assert [len(few.split(split)) for split in ("train", "val", "test")] == [14, 3, 3]
    assert [len(fewest.split(split)) for split in ("train", "val", "test")] == [4, 3, 3]
    assert {photo.id for photo in fewest.photos} < {photo.id for photo in few.photos}
    ids = [{photo.id for photo in manifest.photos} for manifest in (few, more)]
    assert ids[0] < ids[1] and len(ids[1]) <= 30
    assert Counter(photo.label for photo in few.class_photos).keys() == {"cane", "gatto"}
    assert 10 <= sum(photo.label == "cane" for photo in few.class_photos) <= 12
    assert ids[0] != {photo.id for photo in prepare(replace(profile, limit=20, seed=7))[0].photos}


def test_in_the_place_of_a_bad_photo_a_slice_has_the_next_one(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    for number in range(60):
        write_photo(captioned_folder / "Images" / f"photo_{number:02d}.jpg", (9, 4 * number, 9))
        write_photo(class_folder / "raw-img" / "cane" / f"{number}.jpg", (4 * number, 9, 9))
    write_captions(captioned_folder, [(f"photo_{number:02d}.jpg", f"A dog {number} .") for number in range(60)])
    profile = replace(own_profile(tmp_path, captioned_folder, class_folder), limit=20)
    whole, _, _ = prepare(profile)
    bad = [photo for photo in (*whole.split("val"), *whole.class_split("val")) if "gatto" not in photo.id]
    for photo in bad:
        photo.path.write_bytes(f"torn {photo.id}".encode())
    slice_, _, findings = prepare(profile)
    kinds = [
        Counter((type(photo), photo.split) for photo in [*one.photos, *one.class_photos]) for one in (whole, slice_)
    ]
    assert bad and kinds[0] == kinds[1] and slice_.classes == ["cane", "gatto"]
    assert {one.name for one in findings.left_out} == {str(photo.path) for photo in bad}
    ids = [{photo.id for photo in (*one.photos, *one.class_photos)} for one in (whole, slice_)]
    assert ids[0] - ids[1] == {photo.id for photo in bad}


def test_copies_of_a_photo_are_in_one_split_where_chance_chooses(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    profile, images = own_profile(tmp_path, captioned_folder, class_folder), captioned_folder / "Images"
    before = {photo.id: photo.split for photo in prepare(profile)[0].photos}
    held_out, *_ = (id_ for id_, split in before.items() if split == "test")
    learned = [id_ for id_, split in before.items() if split == "train"][:2]
    for id_ in learned:
        shutil.copy(images / held_out, images / id_)
    after = {photo.id: photo.split for photo in prepare(profile)[0].photos}
    assert len({after[id_] for id_ in (held_out, *learned)}) == 1 and len(set(after.values())) == 3
    rows = [(id_, f"A dog {number} .", split) for number, (id_, split) in enumerate(before.items())]
    for told in (rows, [(*row[:2], row[2].replace("test", "train")) for row in rows]):
        (captioned_folder / "captions.txt").unlink(missing_ok=True)
        with (captioned_folder / "captions.csv").open("w", encoding="utf-8") as file:
            file.writelines(f"{name},{text},{split}\n" for name, text, split in [("image", "caption", "split"), *told])
        splits = {photo.id: photo.split for photo in prepare(profile)[0].photos}
        # What a data set says of its splits is left as it is.
        assert (splits == before) if told is rows else len({splits[id_] for id_ in (held_out, *learned)}) == 1


def test_several_sets_are_one_with_the_origin_of_each_photo(
    tmp_path: Path, captioned_folder: Path, class_folder: Path
) -> None:
    """Flickr30k holds Flickr8k's photos, made anew under shorter names; cameras call different photos alike."""
    other, images = tmp_path / "other", captioned_folder / "Images"
    rows = [
        ("copy.jpg", "Again ."),
        ("1000268201.jpg", "A child ."),
        ("10001.jpg", "Another ."),
        ("photo_01.jpg", "A hen ."),
    ]
    for number, (name, _) in enumerate(rows):
        write_photo(other / name, (number, 200, 7))
    shutil.copy(images / "photo_00.jpg", other / "copy.jpg")
    (other / "captions.csv").write_text("".join(f"{name};{text}\n" for name, text in [("file", "text"), *rows]))
    for number, name in enumerate(("1000268201_693b08cb0e.jpg", "10001.jpg")):
        write_photo(images / name, (number, 3, 90))
        with (captioned_folder / "captions.txt").open("a") as file:
            file.write(f"{name},A girl .\n")
    for number in range(8):
        write_photo(other / f"{number}.png", (9 * number, 9, 9))
    with (other / "captions.csv").open("a") as file:
        file.writelines(f"{number}.png;A cat {number} .\n" for number in range(8))
    profile = own_profile(tmp_path, Path(f"{captioned_folder}+{other}"), class_folder)
    manifest, sources, findings = prepare(profile)
    assert manifest.origins == ["captioned", "other"]
    assert Counter(photo.origin for photo in manifest.photos) == {"captioned": 14, "other": 10}
    assert len({photo.id for photo in manifest.photos}) == 24
    assert {photo.id.split("/")[0] for photo in manifest.photos} == {"captioned", "other"}
    assert [(one.name, one.reason) for one in findings.left_out] == [
        ("other/copy.jpg", "already in captioned"),
        ("other/1000268201.jpg", "already in captioned"),
    ]
    assert set(sources) == {str(captioned_folder), str(other), str(class_folder)}


def test_photos_of_the_same_name_in_two_folders_are_two(tmp_path: Path, class_folder: Path) -> None:
    for part, count in (("train", 10), ("val", 2), ("test", 2)):
        for number in range(count):
            write_photo(tmp_path / "own" / part / f"{number}.jpg").with_suffix(".txt").write_text(f"{part} {number}")
    manifest = prepare(own_profile(tmp_path, tmp_path / "own", class_folder))[0]
    assert len({photo.id for photo in manifest.photos}) == 14
    assert {photo.captions[0].split()[0] for photo in manifest.split("val")} == {"val"}


@pytest.mark.parametrize("encoding", ["cp1253x", "base64", "undefined"])
def test_an_encoding_that_there_is_not_is_refused(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, encoding: str
) -> None:
    with pytest.raises(InputError, match=f"There is no encoding '{encoding}'"):
        prepare(replace(own_profile(tmp_path, captioned_folder, class_folder), captions_encoding=encoding))


def test_failed_download_names_the_data_set_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    def refuse(handle: str) -> str:
        raise ConnectionError("no route to host\nand forty lines more")

    monkeypatch.setattr(kagglehub, "dataset_download", refuse)
    monkeypatch.setattr("helpers.downloads.PAUSES", ())
    with pytest.raises(InputError, match=r"photos/versions/1 .*connection broke off.*captions_folder") as caught:
        download("someone/photos/versions/1", "captions_folder")
    assert "\n" not in str(caught.value)


def test_a_download_that_will_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub
    from kagglehub.kaggle_cache_resolver import DatasetKaggleCacheResolver

    handle, fetched = "adityajn105/flickr8k/versions/1", []
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: fetched.append(handle) or str(tmp_path))

    def attempt(free: float) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
        download(handle, "captions_folder")

    with pytest.raises(InputError, match=r"Flickr8k needs about 2\.2 GB in .*KAGGLEHUB_CACHE"):
        attempt(2.1e9)
    archive = tmp_path / "datasets" / "adityajn105" / "flickr8k" / "1.archive"
    archive.parent.mkdir(parents=True)
    with archive.open("wb") as file:  # of an attempt that broke off, and goes on
        file.truncate(200_000_000)
    with pytest.raises(InputError, match=r"Flickr8k needs about 2\.0 GB more in"):
        attempt(1.9e9)
    assert fetched == []
    attempt(2.1e9)
    monkeypatch.setattr(DatasetKaggleCacheResolver, "is_supported", lambda *_: True)  # nothing is downloaded there
    attempt(0)
    assert fetched == [handle, handle]


def test_a_split_file_that_is_not_in_its_data_set_is_named_with_its_setting(
    tmp_path: Path, captioned_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: str(captioned_folder))
    handles = {"captions_handle": "one/photos/versions/1", "split_handle": "one/splits/versions/1"}
    with pytest.raises(InputError, match=r"holds no dataset_x\.json; correct split_file, or delete"):
        prepare(get_profile("sample", data_dir=str(tmp_path), split_file="dataset_x.json", **handles))


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
    manifest, sources, _ = prepare(profile)
    assert [len(manifest.split(name)) for name in ("train", "val", "test")] == [8, 2, 2]
    assert any("Flickr8k has 8,091 photos and 40,455 captions, and 12 and 24 were read" in n for n in manifest.notices)
    assert any("1 photos of" in notice and "dataset_flickr8k.json are not in" in notice for notice in manifest.notices)
    assert portable(split / "dataset_flickr8k.json") in sources


def test_other_kaggle_sets_need_only_their_handles(
    tmp_path: Path, captioned_folder: Path, class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    cached = {"one/photos/versions/1": str(captioned_folder), "two/animals/versions/3": str(class_folder)}
    monkeypatch.setattr(kagglehub, "dataset_download", cached.__getitem__)
    handles = {"captions_handle": "one/photos/versions/1", "classes_handle": "two/animals/versions/3"}
    manifest, sources, _ = prepare(get_profile("sample", data_dir=str(tmp_path), **handles))
    assert len(manifest.photos) == 12 and manifest.split("test")
    assert manifest.classes == ["cane", "gatto"]
    assert set(sources) == {str(captioned_folder), str(class_folder)}
