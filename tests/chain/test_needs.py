"""What a run has to fetch: compared with where the libraries themselves look, and said before anything runs."""

from pathlib import Path

import numpy as np
import pytest
import requests
import torch

from helpers.chain.needs import WEIGHTS, check_network, features_size, missing, torch_home
from helpers.environment import COMMAND, prepare_torchvision
from helpers.files import InputError
from helpers.profiles import PROFILES, get_profile

ALL = {"captions_handle", "vector_backbone", "grid_backbone", "sentence_encoders", "caption_tokenizer"}


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty ones. The hub's is decided when its library is first imported, so it is told where it is asked."""
    for name in ("TORCH_HOME", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_weights_are_looked_for_where_torchvision_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepare_torchvision()
    from torchvision.models import ResNet50_Weights, VGG16_Weights

    enums = {"vgg16": VGG16_Weights.IMAGENET1K_V1, "resnet50": ResNet50_Weights.IMAGENET1K_V2}
    assert {name: file for name, (file, _) in WEIGHTS.items()} == {
        name: weights.url.rsplit("/", 1)[1] for name, weights in enums.items()
    }
    for variables in ({"TORCH_HOME": str(tmp_path)}, {"XDG_CACHE_HOME": str(tmp_path)}, {}):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert torch_home() == Path(torch.hub._get_torch_home())


def test_what_is_in_a_cache_is_not_missing(caches: Path) -> None:
    assert missing(PROFILES["sample"], ALL) == []
    found = [need.what for need in missing(PROFILES["flickr8k"], ALL)]
    assert found == [
        "the Kaggle data set adityajn105/flickr8k/versions/1",
        "the Kaggle data set shtvkumar/karpathy-splits/versions/1",
        "the Kaggle data set alessiocorrado99/animals10/versions/2",
        "the published weights of vgg16 (528 MB)",
        "the published weights of resnet50 (98 MB)",
        "the sentence encoder sentence-transformers/all-MiniLM-L6-v2",
    ]
    assert [need.what for need in missing(PROFILES["flickr8k"], {"grid_backbone"})] == found[4:5]  # for some stages
    both = get_profile("sample", backbone="vgg16+resnet50")
    assert [need.what for need in missing(both, ALL)] == found[3:5]
    eye = get_profile("sample", backbone="openai/clip-vit-base-patch16")
    assert [need.what for need in missing(eye, ALL)] == ["the backbone openai/clip-vit-base-patch16"]
    own = get_profile("flickr8k", captions_folder="photos", classes_folder="classes", caption_tokenizer="bert")
    assert [need.what for need in missing(own, ALL)] == [*found[3:], "the vocabulary of bert-base-uncased"]
    (caches / "hub" / "checkpoints").mkdir(parents=True)
    for file, _ in WEIGHTS.values():
        (caches / "hub" / "checkpoints" / file).touch()
    for handle in (PROFILES["flickr8k"].captions_handle, PROFILES["flickr8k"].split_handle):
        folder = caches / "datasets" / handle
        folder.mkdir(parents=True)
        (folder.parent.parent / f"{folder.name}.complete").touch()
    assert [need.what for need in missing(PROFILES["flickr8k"], ALL)] == [found[2], found[5]]


def test_no_way_to_a_server_is_one_sentence_with_a_command_that_does_without(
    caches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def head(address: str, **_: object) -> None:
        if "pytorch" in address or "huggingface" in address:
            raise requests.ConnectionError("no way")

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setenv(COMMAND, "python run_all.py --profile flickr8k --set vector_backbone=vgg16 --set beam=3")
    wanted = missing(PROFILES["flickr8k"], ALL)
    with pytest.raises(InputError) as caught:
        check_network(wanted)
    said = str(caught.value)
    assert said.startswith("This run needs the published weights of vgg16 (528 MB), the published weights of resnet50")
    assert "download.pytorch.org cannot be reached; huggingface.co cannot be reached" in said and "Kaggle" not in said
    assert said.endswith(
        "or do without: `python run_all.py --profile flickr8k --set beam=3 --set backbone=efficientnet_lite0 "
        "--set sentence_encoders=use`."
    )
    check_network([need for need in wanted if "Kaggle" in need.what])
    assert capsys.readouterr().out.startswith("To be downloaded: the Kaggle data set adityajn105/flickr8k/versions/1, ")
    # Where the data sets cannot be had either, the command alone would be refused again.
    monkeypatch.setattr(requests, "head", lambda *_, **__: head("pytorch"))
    with pytest.raises(InputError) as caught:
        check_network(wanted)
    assert str(caught.value).endswith(
        "connect to the internet, or take photos of your own with captions_folder and classes_folder and do without "
        "the rest: --set backbone=efficientnet_lite0 --set sentence_encoders=use."
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        check_network(wanted[-1:])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://mirror.example")  # as HF_ENDPOINT sets it
    assert missing(PROFILES["flickr8k"], ALL)[-1].address.startswith("https://mirror.example/")


def test_a_name_that_no_hub_has_is_told_at_once(caches: Path) -> None:
    with pytest.raises(InputError, match="'no/such/model' names no model of the Hugging Face hub"):
        missing(get_profile("sample", sentence_encoders="use+no/such/model"), ALL)
    with pytest.raises(InputError, match="'flickr8k' names no Kaggle data set"):
        missing(get_profile("flickr8k", captions_handle="flickr8k"), ALL)


def test_the_room_for_features_is_that_of_their_arrays_and_none_once_they_are_there(tmp_path: Path) -> None:
    profile = get_profile("flickr8k", mirrored=True, outputs_dir=str(tmp_path))
    rows = 2 * 10  # each photo, and its mirror image
    vgg16 = 2 * np.zeros((rows, 4096), np.float32).nbytes + np.zeros((rows, 49, 512), np.float16).nbytes
    resnet50 = 2 * np.zeros((rows, 2048), np.float32).nbytes + np.zeros((rows, 49, 2048), np.float16).nbytes
    assert features_size(profile, 10) == vgg16 + resnet50
    eye = get_profile("flickr8k", outputs_dir=str(tmp_path), grid_backbone="openai/clip-vit-base-patch16")
    assert features_size(eye, 10) == vgg16  # what the hub's sees is known when it is loaded
    both = get_profile("flickr8k", outputs_dir=str(tmp_path), grid_backbone="vgg16+resnet50")
    assert features_size(both, 10) == 2 * vgg16 + resnet50  # side by side they are kept as one
    (profile.outputs / "features").mkdir(parents=True)
    (profile.outputs / "features" / "vgg16_grid.json").touch()
    assert features_size(profile, 10) == resnet50
    stem = 10 * 2 * (2 * 4 * 1024 + 2 * 14 * 14 * 1024)
    for tail in ({"finetune": True}, {"pretrained_tail_epochs": 1}):
        tuned = get_profile("flickr8k", mirrored=True, outputs_dir=str(tmp_path), **tail)
        assert features_size(tuned, 10) == resnet50 + stem
