import numpy as np
from PIL import Image

from helpers.captioning import plots
from helpers.captioning.training import CaptionData


def test_scores_have_a_panel_each_and_the_line_to_beat() -> None:
    table = {"one": {"BLEU-4": 20.0, "CIDEr-D": 50.0}, "two": {"BLEU-4": 25.0, "CIDEr-D": 40.0}}
    figure = plots.plot_scores(table, {"BLEU-4": 9.0, "CIDEr-D": 4.0}, "Two is better at one")
    assert [cell.get_title(loc="left") for cell in figure.axes] == ["BLEU-4", "CIDEr-D"]
    assert [[bar.get_width() for bar in cell.patches] for cell in figure.axes] == [[20, 25], [50, 40]]
    assert [cell.lines[0].get_xdata()[0] for cell in figure.axes] == [9.0, 4.0]


def test_good_and_bad_captions_are_counted_in_the_title() -> None:
    data = CaptionData(["a", "b"], [], np.arange(2), np.zeros((2, 1, 1), np.int64), [("a dog",), ("a cat",)])
    photos = {id_: Image.new("RGB", (9, 9)) for id_ in data.ids}
    figure = plots.plot_good_and_bad({"a": "a dog", "b": "x"}, data, photos, ["a"], ["b"])
    assert figure.get_suptitle().startswith("Good and bad captions, 1 of either;")


def test_the_title_of_a_training_names_what_is_kept_and_how_it_was_judged() -> None:
    first = {"stage": "cross-entropy", "train_loss": 3.0, "val_loss": 2.0, "cider_d": 40.0}
    second = {"stage": "self-critical", "train_reward": 1.0, "val_loss": 3.0, "cider_d": 52.0}
    between = {"stage": "halfway", "val_loss": 2.5, "cider_d": 45.0, "cider_d_as_used_before": 53.0}
    titles = [
        plots.plot_training([first, second, between | {"cider_d_as_used": after, "decoding": "beam 3"}]).get_suptitle()
        for after in (50.0, 61.0)
    ]
    assert titles == [
        "Epoch 2 (self-critical) writes the best captions: CIDEr-D 52 on validation",
        "Halfway between both stages it writes best: CIDEr-D 53 → 61 on validation (beam 3)",
    ]
    assert len(plots.plot_training([first]).axes) == 2
