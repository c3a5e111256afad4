from pathlib import Path

import pytest

from helpers.data.known_sets import announce, check_counts, expected_photos, known_set
from helpers.data.left_out import Findings
from helpers.files import InputError
from helpers.profiles import PROFILES, get_profile

FLICKR = "adityajn105/flickr8k/versions/1"


def test_what_a_download_costs_is_said_before_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    announce(FLICKR, tmp_path)
    said = capsys.readouterr().out
    assert "Flickr8k" in said and "about 1.1 GB, which takes 3 min at 50 Mbit/s" in said  # 8,800 Mbit / 50 / 60
    assert "research" in said and "no account" in said
    announce("somebody/photos/versions/1", tmp_path)
    assert "kaggle.com/datasets/somebody/photos" in capsys.readouterr().out


def test_a_download_that_will_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 1_000_000_000})())
    with pytest.raises(InputError, match=r"Flickr8k needs about 2\.2 GB in .*KAGGLEHUB_CACHE"):
        announce(FLICKR, tmp_path / "not" / "yet")


def test_all_sets_of_the_profiles_are_known() -> None:
    for profile in PROFILES.values():
        for handles in filter(None, (profile.captions_handle, profile.split_handle, profile.classes_handle)):
            assert all(known_set(handle) for handle in handles.split("+"))


def test_how_many_photos_there_will_be() -> None:
    assert expected_photos(get_profile("sample", scenes=200)) == 200
    assert expected_photos(PROFILES["together"]) == 8_091 + 31_783 + 123_287  # at most
    assert expected_photos(get_profile("coco", limit=500)) == 500
    assert expected_photos(get_profile("flickr8k", captions_folder="mine")) == 0  # nobody knows
    assert expected_photos(get_profile("flickr8k", captions_handle="somebody/photos/versions/1")) == 0


def test_counts_are_compared_and_a_few_doubles_are_none_missing() -> None:
    findings = Findings()
    check_counts(FLICKR, 8_091, 40_446, findings)
    check_counts("somebody/photos", 3, 3, findings)
    assert findings.notices == []
    check_counts(FLICKR, 8_091, 30_000, findings)
    check_counts(FLICKR, 8_090, 40_455, findings)
    assert len(findings.notices) == 2
