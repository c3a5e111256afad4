"""Retrieval metrics against slow references that sort every list in plain Python."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from helpers.encoders import metrics
from helpers.encoders.metrics import (
    chance_metrics,
    chance_ndcg,
    class_chance,
    class_metrics,
    class_table,
    classify,
    confusion,
    metrics_by_origin,
    ndcg,
    recall_hits,
    recall_intervals,
    recall_table,
    relevance,
    retrieval_hits,
    retrieval_intervals,
    retrieval_metrics,
    score_metrics,
    without_own,
)
from helpers.files import InputError


def slow_retrieval(scores: np.ndarray, owners: np.ndarray) -> dict[str, float]:
    """Walk each ranked list from the top, wrong answers first among equals."""
    i2t, t2i = [], []
    for photo in range(len(scores)):
        ranked = sorted(range(len(owners)), key=lambda text: (-scores[photo, text], owners[text] == photo))
        ranks = [rank for rank, text in enumerate(ranked, 1) if owners[text] == photo]
        i2t += ranks[:1]
    for text in range(len(owners)):
        ranked = sorted(range(len(scores)), key=lambda photo: (-scores[photo, text], owners[text] == photo))
        t2i.append(ranked.index(owners[text]) + 1)
    result = {"gallery": len(scores), "median_rank_i2t": np.median(i2t), "median_rank_t2i": np.median(t2i)}
    for k in (1, 5, 10):
        result[f"i2t_r{k}"] = 100 * sum(rank <= k for rank in i2t) / len(i2t)
        result[f"t2i_r{k}"] = 100 * sum(rank <= k for rank in t2i) / len(t2i)
    return result


@pytest.mark.parametrize("levels", [2, 3, 1000])
def test_recall_agrees_with_sorted_lists(levels: int) -> None:
    # Vectors of small integers: few levels mean many exact ties.
    rng = np.random.default_rng(levels)
    images = rng.integers(0, levels, (23, 4)).astype(np.float32)
    owners = rng.permutation(np.concatenate([np.arange(22), rng.integers(0, 22, 40)]))  # photo 22 has no caption
    texts = images[owners] + rng.integers(0, 2, (len(owners), 4))
    expected = slow_retrieval(images @ texts.T, owners)
    assert retrieval_metrics(images, texts, owners) == pytest.approx(expected)
    assert score_metrics(images @ texts.T, owners) == pytest.approx(expected)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, owners = rng.normal(size=(30, 8)).astype(np.float32), rng.integers(0, 30, 90)
    texts = images[owners] + rng.normal(size=(90, 8)).astype(np.float32)
    whole = retrieval_metrics(images, texts, owners)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 4 * 90 * 7)  # seven photos, or 21 captions, at once
    assert retrieval_metrics(images, texts, owners) == whole


def test_a_model_that_gives_everything_one_score_comes_last() -> None:
    result = retrieval_metrics(np.ones((20, 4)), np.ones((40, 4)), np.repeat(np.arange(20), 2))
    assert result["i2t_r10"] == result["t2i_r10"] == 0
    assert (result["median_rank_i2t"], result["median_rank_t2i"]) == (39, 20)


def test_a_caption_at_the_same_place_as_the_right_one_ties_despite_rounding() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 256)).astype(np.float32)
    image /= np.linalg.norm(image)
    images = np.repeat(image, 37, axis=0)
    assert retrieval_metrics(images, images, np.arange(37))["median_rank_t2i"] == 37


def test_chance_agrees_with_random_rankings() -> None:
    rng = np.random.default_rng(2)
    owners = np.repeat(np.arange(15), rng.integers(1, 6, 15))
    drawn = [score_metrics(rng.random((15, len(owners))), owners) for _ in range(600)]
    expected = chance_metrics(owners, gallery=15)
    for name, value in expected.items():
        mean = np.mean([result[name] for result in drawn])
        assert mean == pytest.approx(value, abs=1.5 if "_r" in name else 0.6), name


def slow_precision(scores: list[float], right: list[bool], k: int) -> float:
    ranked = sorted(zip(scores, right, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return sum(right for _, right in ranked[:k]) / max(1, min(k, sum(right for _, right in ranked)))


def slow_average_precision(scores: list[float], right: list[bool]) -> float:
    ranked = sorted(zip(scores, right, strict=True), key=lambda pair: (-pair[0], pair[1]))
    precisions = [sum(right for _, right in ranked[:rank]) / rank for rank, (_, hit) in enumerate(ranked, 1) if hit]
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("levels", [2, 1000])
def test_class_metrics_agree_with_sorted_lists(levels: int) -> None:
    rng = np.random.default_rng(levels)
    labels = np.array(["ant", "bee", "cow"])[rng.integers(0, 3, 40)]
    text_labels = np.array(["ant", "ant", "bee", "bee", "bee", "cow"])
    images = rng.integers(0, levels, (40, 3)).astype(np.float32)
    texts = rng.integers(0, levels, (6, 3)).astype(np.float32)
    result = class_metrics(images, labels, texts, text_labels)
    scores = (texts @ images.T).tolist()
    for k in (1, 5, 10):
        t2i = [slow_precision(scores[q], list(labels == text_labels[q]), k) for q in range(6)]
        i2i = [
            slow_precision(
                [float(images[q] @ images[other]) for other in range(40) if other != q],
                [labels[other] == labels[q] for other in range(40) if other != q],
                k,
            )
            for q in range(40)
        ]
        assert result[f"t2i_p{k}"] == pytest.approx(np.mean(t2i))
        assert result[f"i2i_p{k}"] == pytest.approx(np.mean(i2i))
    average = [slow_average_precision(scores[q], list(labels == text_labels[q])) for q in range(6)]
    by_class = [np.mean([average[q] for q in range(6) if text_labels[q] == label]) for label in sorted(set(labels))]
    assert result["map"] == pytest.approx(np.mean(by_class))


@pytest.mark.parametrize("labels", ["ant " * 30 + "bee " * 10, "ant " * 5 + "bee " * 3 + "cow"], ids=["40", "9"])
def test_class_chance_agrees_with_random_vectors(labels: str) -> None:
    rng = np.random.default_rng(3)
    labels = np.array(labels.split())
    text_labels = np.array(["ant", "bee", "bee"])
    drawn = [
        class_metrics(rng.normal(size=(len(labels), 8)), labels, rng.normal(size=(3, 8)), text_labels)
        for _ in range(400)
    ]
    for name, value in class_chance(labels, text_labels).items():
        assert np.mean([result[name] for result in drawn]) == pytest.approx(value, abs=0.05), name


def test_of_a_small_class_all_can_be_found_and_vectors_that_do_are_perfect() -> None:
    labels = np.repeat(np.arange(10), 2)
    found = class_metrics(np.eye(10)[labels], labels, np.eye(10), np.arange(10))
    assert {found[f"{way}_p{k}"] for way in ("t2i", "i2i") for k in (1, 5, 10)} == {1.0}
    table = class_table(relevance(np.eye(10)[:, labels], np.arange(10)[:, None] == labels), np.arange(10))
    assert all(row == {"t2i_p1": 1, "t2i_p5": 1, "t2i_p10": 1, "map": 1} for row in table.values())


def test_classify_and_confusion() -> None:
    texts = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    text_labels = np.array(["cow", "cow", "ant"])
    images = np.array([[1.0, 0], [0.9, 0.2], [0.8, 0.1], [0, 1]])
    predicted = classify(images, texts, text_labels)
    assert list(predicted) == ["cow", "cow", "cow", "ant"]
    counts = confusion(np.array(["cow", "cow", "ant", "ant"]), predicted, ["ant", "cow"])
    assert counts.tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize("k", [1, 10, 40])
def test_ndcg_agrees_with_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(4)
    scores = rng.permuted(np.linspace(-1, 1, 40)[None].repeat(25, axis=0), axis=1)  # no ties
    gains = rng.random((25, 40)) * (rng.random((25, 40)) < 0.3)
    assert gains.any(axis=1).all()
    assert ndcg(scores, gains, k) == pytest.approx(ndcg_score(gains, scores, k=k))
    # Among equal scores the smaller gain comes first, as if the larger ones scored a little less.
    tied = np.round(3 * scores)
    assert ndcg(tied, gains, k) == pytest.approx(ndcg_score(gains, tied - 1e-3 * gains, k=k))
    assert ndcg(tied, gains, k) < ndcg_score(gains, tied, k=k)
    assert ndcg(gains, gains, k) == pytest.approx(1)
    # A query for which nothing is right says nothing.
    assert ndcg(np.r_[scores, scores[:1]], np.r_[gains, np.zeros((1, 40))], k) == pytest.approx(ndcg(scores, gains, k))


@pytest.mark.parametrize("low", [0.5, 0.5000005, 0.50000079])
def test_scores_that_differ_by_rounding_tie_wherever_they_lie(low: float) -> None:
    near, apart = np.array([[low, low + 6e-8, 0.4]]), np.array([[low, low + 3e-6, 0.4]])
    right = np.array([[False, True, False]])
    assert relevance(near, right).tolist() == [[False, True, False]]  # the wrong one comes first
    assert relevance(apart, right).tolist() == [[True, False, False]]
    assert ndcg(near, right * 1.0) == pytest.approx(1 / np.log2(3)) and ndcg(apart, right * 1.0) == 1


def test_chance_ndcg_agrees_with_random_rankings() -> None:
    rng = np.random.default_rng(5)
    gains = rng.random((30, 20)) * (rng.random((30, 20)) < 0.2)
    drawn = [ndcg(rng.random((30, 20)), gains) for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(chance_ndcg(gains), abs=0.01)


def test_each_querys_own_photo_is_left_out() -> None:
    assert without_own(np.arange(9).reshape(3, 3)).tolist() == [[1, 2], [3, 5], [6, 7]]


def test_a_diverged_model_is_named_and_not_scored() -> None:
    broken = np.full((3, 2), np.nan)
    with pytest.raises(InputError, match="diverged"):
        retrieval_metrics(broken, np.ones((3, 2)), np.arange(3))
    with pytest.raises(InputError, match="diverged"):
        class_metrics(np.ones((3, 2)), np.array(["a", "a", "b"]), broken, np.array(["a", "a", "b"]))


def test_hits_of_each_query_add_up_to_the_recalls_and_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(40), 3)
    scores = rng.normal(size=(40, 120)) + 2 * (np.arange(40)[:, None] == owners)
    for queries in (None, np.array([3, 5, 8, 20, 31])):
        metrics = score_metrics(scores, owners, queries)
        hits = recall_hits(scores, owners, queries)
        for name, (low, high) in recall_intervals(scores, owners, queries).items():
            values, of = hits[name]
            assert values.mean() == pytest.approx(metrics[name]) and len(values) == len(of)
            assert set(of) == set(range(40) if queries is None else queries)
            assert 0 <= low <= metrics[name] <= high <= 100


def test_of_two_tables_photos_search_the_one_and_captions_the_other() -> None:
    rng = np.random.default_rng(6)
    owners, queries = np.repeat(np.arange(20), 3), np.array([2, 3, 11, 19])
    tables = rng.normal(size=(2, 20, 60)) + 2 * (np.arange(20)[:, None] == owners)
    by_photo, by_text = (score_metrics(table, owners, queries) for table in tables)
    found, bounds = score_metrics(tuple(tables), owners, queries), recall_intervals(tuple(tables), owners, queries)
    assert found == {name: (by_text if "t2i" in name else by_photo)[name] for name in found} != by_photo
    each = [recall_intervals(table, owners, queries) for table in tables]
    assert bounds == {name: each["t2i" in name][name] for name in bounds}


def test_the_table_shows_each_search_and_the_intervals_of_the_last() -> None:
    chance, owners = chance_metrics(np.arange(2000), 2000), np.array([0, 0, 1])
    found = score_metrics(np.eye(2)[:, owners], owners)
    table = recall_table({"chance": chance, "as it is used": found}, recall_intervals(np.eye(2)[:, owners], owners))
    rows = [line.split() for line in table.splitlines()]
    assert rows[:3] == [
        ["chance", "as", "it", "is", "used"],
        ["gallery", "2,000", "2"],
        ["t2i_r1", "0.1", "100.0", "[100.0,", "100.0]"],
    ]
    assert rows[-1] == ["median_rank_i2t", "1000.0", "1.0"] and len(rows) == 10
    assert "[" not in recall_table({"chance": chance})


def test_photos_of_several_sets_ask_set_by_set_among_all() -> None:
    rng = np.random.default_rng(0)
    scores, owners = rng.normal(size=(12, 24)), np.repeat(np.arange(12), 2)
    origins = ["coco" if row % 3 else "flickr8k" for row in range(10)]  # two more are only found
    table = metrics_by_origin(scores, owners, origins)
    assert list(table) == ["coco", "flickr8k"]
    asks = [caption for caption in range(20) if (caption // 2) % 3]
    hits = [scores[:, caption].argmax() == owners[caption] for caption in asks]
    assert table["coco"]["t2i_r1"] == pytest.approx(100 * np.mean(hits))
    assert table["coco"]["gallery"] == 12
    assert metrics_by_origin(scores, owners, ["coco"] * 12) == {}


@pytest.mark.parametrize("size", [10**9, 4 * 120 * 7])  # all at once, and seven photos at once
def test_what_is_counted_from_vectors_is_what_is_counted_from_the_table(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(metrics, "BLOCK_BYTES", size)
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(40), 3)
    images = rng.normal(size=(45, 8)).astype(np.float32)  # five have no caption
    texts = images[owners] + rng.normal(size=(120, 8)).astype(np.float32)
    crowds = rng.random(45, np.float32), rng.random(120, np.float32)
    for taken in (None, crowds):
        table = images @ texts.T - (0 if taken is None else (crowds[0][:, None] + crowds[1]) / 2)
        assert retrieval_metrics(images, texts, owners, taken) == score_metrics(table, owners)
        found, expected = retrieval_hits(images, texts, owners, taken), recall_hits(table, owners)
        assert found.keys() == expected.keys()
        for name, parts in expected.items():
            for part, wanted in zip(found[name], parts, strict=True):
                np.testing.assert_array_equal(part, wanted)
        assert retrieval_intervals(images, texts, owners, taken) == recall_intervals(table, owners)


def test_neighbours_by_class_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    images, texts = rng.normal(size=(50, 6)), rng.normal(size=(8, 6))
    labels, text_labels = np.array(list("abcde") * 10), np.array(list("abcdeabc"))
    expected = class_metrics(images, labels, texts, text_labels)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 4 * 8 * 50 * 7)
    assert class_metrics(images, labels, texts, text_labels) == expected
