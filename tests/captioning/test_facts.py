"""Reading facts from captions: what the grammar writes of a scene must be read back as that scene."""

from random import Random

import pytest

from helpers.captioning.facts import ASPECTS, fact_table, stated, true_facts, weakest
from helpers.sample.captions import Scene, choose_scene, usual_caption, write_captions
from helpers.sample.draw import draw_sample, drawn_scenes

SCENES = [choose_scene(Random(number)) for number in range(1500)]


def test_the_plainest_caption_says_all_there_is_and_is_right_in_all():
    for scene in SCENES:
        said, facts = stated(usual_caption(scene)), true_facts(scene)
        assert all(facts[aspect] in meaning for aspect, meaning in said.items()), (usual_caption(scene), said)
        silent = set(facts) - set(said)
        # A rider's "on" is in the verb.
        assert silent <= ({"relation"} if scene.action == "riding" else set()), (usual_caption(scene), silent)


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


def test_what_is_left_out_is_counted_apart():
    scene = Scene("dog", 2, "brown", None, "running", "snow")
    table = fact_table({"a": "Two dogs in the snow", "b": "Two black dogs are running"}, {"a": scene, "b": scene})
    assert set(table) == set(ASPECTS) - {"clothes", "relation", "thing", "thing's colour"}
    assert table["colour"] == {"photos": 2, "said": 50, "right": 0, "commonest": 100}
    assert table["action"] == {"photos": 2, "said": 50, "right": 100, "commonest": 100}
    assert table["place"]["said"] == 50 and table["number"]["right"] == 100


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
