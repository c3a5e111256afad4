import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from helpers.data.text import build_tokenizer
from helpers.environment import project_root
from helpers.files import InputError
from helpers.profiles import (
    PROFILES,
    SETTING_NAMES,
    Profile,
    TokenizerKind,
    chosen_profile,
    get_profile,
)
from helpers.sample.album import album_home
from helpers.search.engine import MODELS


def test_none_leaves_the_profile_alone() -> None:
    assert get_profile("sample", beam=None, seed=None) == PROFILES["sample"]


def test_overrides_take_their_place() -> None:
    profile = get_profile("flickr8k", backbone="efficientnet_lite0", beam=3)
    assert (profile.vector_backbone, profile.grid_backbone, profile.beam) == (
        "efficientnet_lite0",
        "efficientnet_lite0",
        3,
    )
    assert get_profile("sample", backbone="vgg16", grid_backbone="resnet50").grid_backbone == "resnet50"


def test_unknown_profile_and_setting_are_named() -> None:
    with pytest.raises(InputError, match="no profile 'flickr9k'; choose one of: sample, flickr8k"):
        get_profile("flickr9k")
    with pytest.raises(InputError, match="Did you mean 'lstm_epochs'"):
        get_profile("sample", lstm_epoch=3)


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("beam", "five", "a valid integer"),
        ("beam", 0, "greater than or equal to 1"),
        ("beam", 10**9, "less than or equal to 100"),
        ("beam", True, "a valid integer"),
        ("seed", -1, "greater than or equal to 0"),
        ("caption_batch", 1, "greater than or equal to 2"),
        ("threads", "all", "a valid integer"),
        ("lstm_epochs", "ten", "a valid integer"),
        ("lstm_learning_rate", float("nan"), "less than or equal to 1"),
        ("transformer_width", 100, "a multiple of 8"),
        ("encoder_photo_size", 31, "greater than or equal to 32"),
        ("class_photo_size", 16, "greater than or equal to 32"),
        ("captions_folder", 2024, "a valid string"),
        ("search_model", "nosuch", "'scratch', 'pretrained' or 'fusion'"),
        ("mirrored", "yes", "a valid boolean"),
        ("backbone", "vgg19", "'efficientnet_lite2', a vision transformer of the Hugging Face hub"),
        ("backbone", "vgg16+vgg19", "'efficientnet_lite2', a vision transformer of the Hugging Face hub"),
        ("backbone", "vgg16+vgg16", "of different backbones that take photos of one size, such as 'vgg16+resnet50'"),
        ("backbone", "resnet50+efficientnet_lite0", "of different backbones that take photos of one size"),
    ],
)
def test_a_setting_of_another_type_or_out_of_range_is_named(setting: str, value: object, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen_profile({"profile": "sample", setting: value})
    assert str(caught.value).startswith(f"The setting {setting} cannot be {value!r}: it should be ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("value", ["lstm and " * 30, 10**90], ids=["text", "number"])
def test_a_long_value_is_named_by_its_beginning_and_its_end(value: object) -> None:
    whole = repr(value)
    with pytest.raises(InputError) as caught:
        chosen_profile({"profile": "sample", "search_model": value})
    named = str(caught.value).removeprefix("The setting search_model cannot be ").partition(": it should")[0]
    first, last = named.split("...")
    assert whole.startswith(first) and whole.endswith(last) and len(named) <= 60


def test_a_backbone_of_the_hub_is_frozen() -> None:
    name = "openai/clip-vit-base-patch16"
    assert get_profile("sample", backbone=name).grid_backbone == name
    with pytest.raises(InputError, match=f"finetune=True trains the last layers of vgg16.*not of {name}"):
        get_profile("sample", grid_backbone=name, finetune=True)
    for frozen in (name, "vgg16", "vgg16+resnet50"):
        with pytest.raises(InputError, match=f"pretrained_tail_epochs=2 trains the .* not of {re.escape(frozen)}"):
            get_profile("sample", grid_backbone=frozen, pretrained_tail_epochs=2)
    assert get_profile("sample", pretrained_tail_epochs=2).pretrained_tail_epochs == 2


def test_the_choices_of_a_setting_are_those_there_are() -> None:
    assert set(get_args(get_type_hints(Profile)["search_model"])) == set(MODELS)
    for kind in get_args(TokenizerKind):
        if kind != "bert":  # comes from the network
            build_tokenizer(kind, ["a dog"])


def test_outputs_are_apart_by_profile(tmp_path: Path) -> None:
    assert get_profile("sample").outputs == project_root() / "outputs" / "sample"
    assert get_profile("coco", outputs_dir=str(tmp_path)).outputs == tmp_path / "coco"


def test_a_drawing_that_differs_has_a_folder_of_its_own(tmp_path: Path) -> None:
    usual = get_profile("sample", data_dir=str(tmp_path))
    assert usual.sample == tmp_path / "sample" and album_home(usual, 48) == tmp_path / "album"
    assert replace(usual, beam=2, name="coco", run="one").sample == usual.sample  # what is drawn is the same
    others = [replace(usual, **{name: 20}) for name in ("seed", "scenes", "pictures_per_class")]
    others += [replace(usual, seed=1, scenes=20)]
    assert len({one.sample for one in others} - {usual.sample}) == 4
    assert {one.sample.parent for one in others} == {tmp_path}
    assert (
        len({album_home(usual, 48), album_home(usual, 10), album_home(others[0], 48), album_home(others[0], 10)}) == 4
    )


def test_what_the_user_has_is_missed_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("helpers.profiles", "helpers.environment"):
        monkeypatch.setattr(f"{module}.project_root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # as in JupyterLab
    cell = {"profile": "sample", "descriptions_file": "mine.txt", "own_photo": ""}
    with pytest.raises(
        InputError, match=re.escape(f"{tmp_path / 'mine.txt'} does not exist; correct the setting desc")
    ):
        chosen_profile(cell)
    (tmp_path / "mine.txt").touch()
    assert chosen_profile(cell).descriptions == tmp_path / "mine.txt" and get_profile("sample").descriptions is None
    with pytest.raises(InputError, match=r"no\.jpg does not exist; correct the setting own_photo"):
        chosen_profile(cell | {"own_photo": "no.jpg"})


@pytest.mark.parametrize("path", sorted((project_root() / "notebooks").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_parameter_is_a_setting(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    names: dict[str, object] = {}
    exec("".join(tagged[0]["source"]), {}, names)  # literal defaults only
    of_notebooks = {"backbone", "own_photo", "photos", "pictures", "run_missing", "index_sizes", "many", "model", "ray"}
    assert set(names) - set(SETTING_NAMES) <= {"profile", *of_notebooks}
    assert {"profile", "data_dir", "outputs_dir", "seed", "threads"} <= set(names)
    # Else what a run remembers would not count in a notebook that is opened by hand.
    assert [name for name in names if name in SETTING_NAMES and names[name] is not None] == ["outputs_dir"]


@pytest.mark.parametrize("path", sorted((project_root() / "notebooks").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_gets_what_its_parameters_say(path: Path) -> None:
    """Nothing that it imports on the way has the name of a setting, and would be taken for one."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    place = next(i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", []))
    parameters, imports = ("".join(cell["source"]) for cell in cells[place : place + 2])
    names: dict[str, object] = {}
    exec(parameters, {}, names)
    profile = chosen_profile(names | {"seed": 7, "outputs_dir": None, "another_name": 3})
    assert profile == replace(PROFILES["sample"], seed=7)
    before, call, _ = imports.partition("settings = chosen_profile(globals())")
    nodes = [node for node in ast.walk(ast.parse(before)) if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = {alias.asname or alias.name.split(".")[0] for node in nodes for alias in node.names}
    assert call and len(bound) > 5 and not bound & {"profile", "backbone", *SETTING_NAMES}
