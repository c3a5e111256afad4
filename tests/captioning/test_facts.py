"""Reading facts from captions: what the grammar writes of a scene must be read back as that scene."""

from random import Random

import numpy as np
import pytest

from helpers.captioning.facts import ASPECTS, checked, fact_table, guessed, paired, stated, true_facts, weakest
from helpers.files import InputError, read_json, write_json
from helpers.sample.captions import Scene, choose_scene, write_captions
from helpers.sample.draw import draw_sample, drawn_scenes

SCENES = [choose_scene(Random(number)) for number in range(1500)]


def test_what_is_said_of_a_scene_is_all_there_is():
    for scene in SCENES[:300]:
        captions = [caption for number in range(6) for caption in write_captions(scene, Random(number))]
        silent = set(true_facts(scene)).difference(*map(stated, captions))
        # A rider's "on" is in the verb.
        assert silent <= ({"relation"} if scene.action == "riding" else set()), (scene, silent)


def test_no_true_caption_is_read_as_a_lie():
    for number, scene in enumerate(SCENES):
        facts = true_facts(scene)
        for caption in write_captions(scene, Random(number)):
            for aspect, meaning in stated(caption).items():
                assert facts.get(aspect) in meaning, (caption, aspect, meaning)


@pytest.mark.parametrize(
    ("caption", "aspect"),
    [
        ("A man in a blue shirt is standing next to a blue car on the street .", "clothes"),
        ("A woman in a red shirt is standing next to a blue car on the street .", "subject"),
        ("Two men in red shirts are standing next to a blue car on the street .", "number"),
        ("A man in a red shirt is sitting next to a blue car on the street .", "action"),
        ("A man in a red shirt is standing next to a blue car in the snow .", "place"),
        ("A man in a red shirt is standing in front of a blue car on the street .", "relation"),
        ("A man in a red shirt is standing next to a blue bike on the street .", "thing"),
        ("A man in a red shirt is standing next to a green car on the street .", "thing's colour"),
    ],
)
def test_one_wrong_word_is_one_wrong_fact(caption, aspect):
    scene = Scene("man", 1, "red", None, "standing", "street", "next to", "car", "blue")
    table = fact_table({"a": caption}, {"a": scene})
    assert [name for name, row in table.items() if row["right"] < 100] == [aspect]
    assert weakest(table) == aspect


@pytest.mark.parametrize(
    ("worth", "least"),  # percent right, and what guessing is worth
    [
        ({"number": (100, 68), "clothes": (65, 32), "relation": (99, 60)}, "clothes"),  # closed: all, 49 % and 98 %
        ({"number": (60, 68), "clothes": (30, 32)}, "number"),  # -25 % and -3 %
        ({"number": (100, 100), "clothes": (99, 98)}, "clothes"),  # where guessing is always right nothing is left
    ],
)
def test_weakest_is_where_the_least_of_the_gap_above_guessing_is_closed(worth, least):
    assert weakest({name: {"right": right, "commonest": guess} for name, (right, guess) in worth.items()}) == least


def test_what_is_left_out_is_counted_apart():
    scene = Scene("dog", 2, "brown", None, "running", "snow")
    table = fact_table({"a": "Two dogs in the snow", "b": "Two black dogs are running"}, {"a": scene, "b": scene})
    assert set(table) == set(ASPECTS) - {"clothes", "relation", "thing", "thing's colour"}
    assert table["colour"] == {"photos": 2, "said": 50, "right": 0, "commonest": 100}
    assert table["action"] == {"photos": 2, "said": 50, "right": 100, "commonest": 100}
    assert table["place"]["said"] == 50 and table["number"]["right"] == 100


def shirts(*colours: str) -> dict[str, Scene]:
    """A man in a shirt of each colour, by number."""
    return {str(number): Scene("man", 1, colour, None, "standing", "street") for number, colour in enumerate(colours)}


def test_captions_are_compared_with_guessing_on_the_photos_of_which_both_say_something():
    scenes = shirts("red", "red", "red", "blue", "green")
    texts = dict.fromkeys(scenes, "A man in a blue shirt on the street .") | {"0": "A man on the street ."}
    right = checked(texts, scenes, "clothes", "colour")  # people have no colour of their own
    assert right == {("1", "clothes"): False, ("2", "clothes"): False, ("3", "clothes"): True, ("4", "clothes"): False}
    guess = guessed(scenes, "clothes", "thing")
    assert list(guess.values()) == [True, True, True, False, False] and {aspect for _, aspect in guess} == {"clothes"}
    first, second, (low, high) = paired(right, guess)  # without photo 0, of which the caption says nothing
    assert (first, second) == (25.0, 50.0) and low < 0 < high
    assert paired(guess, right)[:2] == (50.0, 25.0)
    assert np.isnan(paired(right, guessed(scenes, "thing"))[0])


def test_the_facts_of_a_photo_are_drawn_together():
    numbers = range(60)
    once = {(str(number), "colour"): number % 3 == 0 for number in numbers}
    twice = once | {(str(number), "thing's colour"): number % 3 == 0 for number in numbers}
    for judgement in (once, twice):  # twice the facts of as many photos make nothing surer
        *values, interval = paired(judgement, dict.fromkeys(judgement, False))
        assert values == [pytest.approx(100 / 3), 0.0]
        assert interval == pytest.approx((21.7, 45.0), abs=2.0)  # 1.96 standard errors of 60 photos


def test_what_another_version_drew_is_not_taken_for_todays(tmp_path):
    draw_sample(tmp_path, 10, 1, 3, {"cane": "dog"})
    picture = tmp_path / "captions" / "Images" / "scene_00000.jpg"
    assert drawn_scenes({"a": picture})
    write_json(tmp_path / "sample.json", read_json(tmp_path / "sample.json") | {"drawn_by": "0123456789ab"})
    with pytest.raises(InputError, match=r"drawn by another version .* run notebook 01_download again"):
        drawn_scenes({"a": picture})
    draw_sample(tmp_path, 10, 1, 3, {"cane": "dog"})  # as that notebook does
    assert drawn_scenes({"a": picture})


def test_a_drawn_picture_is_of_the_scene_that_its_name_says(tmp_path):
    draw_sample(tmp_path, 10, 1, 3, {"cane": "dog"})
    rows = (tmp_path / "captions" / "captions.txt").read_text(encoding="utf-8").splitlines()[1:]
    photos = tmp_path / "captions" / "Images"
    scenes = drawn_scenes({path.name: path for path in photos.iterdir()})
    assert len(scenes) == 10
    for row in rows:
        name, caption = row.split(",", 1)
        facts = true_facts(scenes[name])
        assert all(facts.get(aspect) in meaning for aspect, meaning in stated(caption).items()), row
    assert drawn_scenes({"a": tmp_path / "else" / "a" / "b" / "a.jpg"}) == {} == drawn_scenes({})
