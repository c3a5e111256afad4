import pickle
from pathlib import Path

import numpy as np
import pytest

from helpers.files import (
    InputError,
    atomic_path,
    fingerprint_files,
    fingerprint_folder,
    load_pickle,
    read_json,
    save_pickle,
    write_json,
)


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"kept": 1})
    with pytest.raises(RuntimeError, match="power cut"), atomic_path(path) as temporary:
        temporary.write_text("half a fi")
        raise RuntimeError("power cut")
    assert read_json(path) == {"kept": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_json_keeps_other_alphabets(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"caption": "ein Schäfchen, 犬"})
    assert read_json(tmp_path / "a.json")["caption"] == "ein Schäfchen, 犬"


def test_missing_and_torn_json_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json does not exist; run notebook 02 first"):
        read_json(tmp_path / "gone.json", made_by="notebook 02")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"torn\.json is not valid JSON"):
        read_json(tmp_path / "torn.json")


def test_pickle_of_vectors_round_trips(tmp_path: Path) -> None:
    vectors = {"a.jpg": np.arange(4, dtype=np.float32), "b.jpg": np.zeros(4, np.float32)}
    save_pickle(tmp_path / "v.pkl", vectors)
    loaded = load_pickle(tmp_path / "v.pkl")
    assert list(loaded) == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(loaded["a.jpg"], vectors["a.jpg"])


def test_torn_pickle_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.pkl").write_bytes(pickle.dumps(np.zeros(100))[:-40])
    with pytest.raises(InputError, match=r"torn\.pkl cannot be used"):
        load_pickle(tmp_path / "torn.pkl")


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    files, folder = fingerprint_files([tmp_path / "a", tmp_path / "b"]), fingerprint_folder(tmp_path)
    assert fingerprint_files([tmp_path / "b", tmp_path / "a"]) != files
    assert fingerprint_folder(tmp_path) == folder
    (tmp_path / "b").write_text("22")
    assert fingerprint_files([tmp_path / "a", tmp_path / "b"]) != files
    assert fingerprint_folder(tmp_path) != folder
