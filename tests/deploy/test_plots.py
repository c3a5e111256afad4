from helpers.deploy import plots


def test_accuracy_is_shown_where_it_lies_and_one_photo_is_no_cliff() -> None:
    panels = {"Recall": {"pytorch": (10.0, 95.8), "int8": (4.0, 95.9)}, "BLEU": {"pytorch": (50, 72), "int8": (30, 60)}}
    recall, bleu = plots.plot_accuracy_and_speed(panels, "ms", "T").axes
    low, high = recall.get_ylim()
    assert low > 90 and high - low >= 4  # not from 0, and a tenth of a point stays small
    assert bleu.get_ylim()[0] < 60 and bleu.get_ylim()[1] > 72
    assert recall.get_xlim()[0] > 0 and recall.get_xlim()[0] < 4 < 10 < recall.get_xlim()[1]
