from helpers.deploy import plots


def test_accuracy_is_shown_where_it_lies_and_one_photo_is_no_cliff() -> None:
    panels = {"Recall": {"pytorch": (10.0, 95.8), "int8": (4.0, 95.9)}, "BLEU": {"pytorch": (50, 72), "int8": (30, 60)}}
    recall, bleu = plots.plot_accuracy_and_speed(panels, "ms", "T").axes
    low, high = recall.get_ylim()
    assert low > 90 and high - low >= 4  # not from 0, and a tenth of a point stays small
    assert bleu.get_ylim()[0] < 60 and bleu.get_ylim()[1] > 72
    assert recall.get_xlim()[0] > 0 and recall.get_xlim()[0] < 4 < 10 < recall.get_xlim()[1]


def test_an_axis_is_as_readable_whatever_the_last_row_says() -> None:
    def row(a_second: float) -> dict[str, dict[str, float]]:
        figures = {"latency_ms": 1000 / a_second, "rows_per_second": a_second}
        return {"pytorch": figures, "int8": figures | {"megabytes": 2.0}}

    quick, slow = row(200_000.0), row(20.0)
    shown = []
    for table in ({"step": quick, "backbone": slow}, {"backbone": slow, "step": quick}):
        cell = plots.plot_measurements(table, "T").axes[1]
        low, high = cell.get_xlim()
        shown.append([float(tick) for tick in cell.get_xticks() if low <= tick <= high])
    assert shown[0] == shown[1] == [100, 1000, 10_000, 100_000]
