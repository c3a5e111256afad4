"""The real profiles from the first stage to the last, on a cache in miniature: few photos, random weights, one epoch.

What is true of trained models is not to be seen here; what a profile asks for, and nobody runs in an afternoon, is.
CI runs the short form, `make profiles` all of it.
"""

import os
from pathlib import Path

import pytest
from small_cache import CLIP, PHOTOS, fill_kaggle, save_random_weights, save_tiny_clip, save_tiny_encoder
from small_chain import Chain

from helpers.backbone_names import vector_is_mean
from helpers.profiles import PROFILES
from run_all import STAGES

LONG = pytest.mark.skipif(not os.environ.get("COURSE_LONG"), reason="takes minutes: make profiles")
LIMIT = 1000  # more than there are, so that room on the disk is asked for no more photos than these


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the networks of all profiles."""
    cache = tmp_path_factory.mktemp("weights")
    save_random_weights(cache)
    save_tiny_encoder(cache)
    save_tiny_clip(cache)
    return cache


@pytest.mark.parametrize(
    ("name", "settings", "last"),
    [
        ("flickr8k", {}, "03c"),
        ("flickr8k", {"backbone": "vgg16"}, "02"),  # whose vector is no mean of its grid
        pytest.param("flickr8k", {}, "07", marks=LONG),
        pytest.param("flickr8k", {"backbone": "vgg16"}, "07", marks=LONG),
        pytest.param("flickr8k", {"backbone": "resnet50"}, "07", marks=LONG),
        pytest.param("flickr8k", {"backbone": "efficientnet_lite0", "sentence_encoders": "use"}, "07", marks=LONG),
        pytest.param("flickr8k", {"backbone": CLIP}, "07", marks=LONG),
        pytest.param("flickr8k", {"backbone": "vgg16+resnet50"}, "07", marks=LONG),
        pytest.param("flickr30k", {}, "07", marks=LONG),
        pytest.param("coco", {}, "07", marks=LONG),
    ],
    ids=str,
)
def test_a_profile_runs_to_its_end(tmp_path: Path, weights: Path, name: str, settings: dict, last: str) -> None:
    chain = Chain(tmp_path)
    chain.cache.symlink_to(weights, target_is_directory=True)
    chain.kaggle = tmp_path / "kaggle"
    chain.outputs = chain.outputs.with_name(name)
    fill_kaggle(chain.kaggle, name)
    own = {"mirrored": PROFILES[name].mirrored, "limit": LIMIT}
    ran = chain.run("--profile", name, "--to", last, **(own | settings))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert chain.metrics("dataset")["photos"] == PHOTOS
    for stage in STAGES[: [stage.short for stage in STAGES].index(last) + 1]:
        assert chain.metrics(stage.folder)["headline"]
    if last < "03c":
        return
    assert chain.metrics("captioners/transformer")["images"] == PHOTOS // 10
    backbone = settings.get("backbone", PROFILES[name].grid_backbone)
    together = chain.metrics("captioners/transformer").get("ensemble", {}).get("of", [])
    same_grid = backbone == settings.get("backbone") and vector_is_mean(backbone)  # that the LSTM's vector is made of
    assert together == ["lstm", "attention", "transformer"][0 if same_grid else 1 :]
