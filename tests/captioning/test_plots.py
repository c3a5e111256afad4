from helpers.captioning import plots


def test_scores_have_a_panel_each_and_the_line_to_beat() -> None:
    table = {"one": {"BLEU-4": 20.0, "CIDEr-D": 50.0}, "two": {"BLEU-4": 25.0, "CIDEr-D": 40.0}}
    figure = plots.plot_scores(table, {"BLEU-4": 9.0, "CIDEr-D": 4.0}, "Two is better at one")
    assert [cell.get_title(loc="left") for cell in figure.axes] == ["BLEU-4", "CIDEr-D"]
    assert [[bar.get_width() for bar in cell.patches] for cell in figure.axes] == [[20, 25], [50, 40]]
    assert [cell.lines[0].get_xdata()[0] for cell in figure.axes] == [9.0, 4.0]
