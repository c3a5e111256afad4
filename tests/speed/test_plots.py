from matplotlib.figure import Figure

from helpers.speed import plots


def numbers(figure: Figure) -> set[str]:
    """What stands at the axes, in a picture that takes no text for a formula."""
    figure.draw_without_rendering()
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    return {label.get_text() for axis in axes for label in axis.get_ticklabels(which="both")} - {""}


def test_benchmarks_are_drawn_as_they_were_measured() -> None:
    figure = plots.plot_ladders({"a": {"slow": 2.0, "fast": 300.0}}, "words/s", "ladder")
    (cell,) = [axes for axes in figure.axes if axes.patches]
    assert [bar.get_width() for bar in cell.patches] == [1, 150]
    assert [text.get_text() for text in cell.texts] == ["1.0x  (2.0 words/s)", "150.0x  (300 words/s)"]

    points = [{"recall": 0.5, "single_ms": 1.0, "batch_ms": 2.0}, {"recall": 0.9, "single_ms": 3.0, "batch_ms": 4.0}]
    figure = plots.plot_recall_and_time({"hnsw": {"build_seconds": 7, "megabytes": 9, "points": points}}, "indexes")
    lines = [axes.get_lines()[0] for axes in figure.axes]
    assert [list(line.get_xdata()) for line in lines] == [[1, 3], [2, 4]]
    assert all(list(line.get_ydata()) == [0.5, 0.9] for line in lines)
    assert lines[0].get_label() == "HNSW: built in 7 s, 9 MB"
    assert {"1", "2", "3", "4"} <= numbers(figure) and not any("$" in number for number in numbers(figure))

    costs = [{"seconds": 2, "megabytes": 5}, {"seconds": 8, "megabytes": 6}]
    figure = plots.plot_growth({"decode": {"sizes": [10, 40], "costs": costs, "slope": 1.0}}, "growth")
    time, memory = (axes.get_lines()[0] for axes in figure.axes)
    assert (list(time.get_xdata()), list(time.get_ydata())) == ([1, 4], [1, 4])
    assert list(memory.get_ydata()) == [5, 6]
    assert {"1", "4"} <= numbers(figure) and not any("$" in number for number in numbers(figure))
