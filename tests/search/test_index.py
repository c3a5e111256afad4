"""The index against brute force in NumPy, and against everything that can be wrong with what it is given."""

import json
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.artefacts import seal
from helpers.data.text import Tokenizer, build_tokenizer
from helpers.encoders.dual_encoder import DualEncoderConfig, EncoderPair
from helpers.files import InputError
from helpers.search.index import SearchIndex, query_vector

WIDTH = 16


def random_vectors(count: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def filled(count: int = 100, fingerprint: str = "model-a") -> SearchIndex:
    index = SearchIndex(WIDTH, fingerprint)
    index.add([f"photo-{row}" for row in range(count)], random_vectors(count))
    return index


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines in float64, sorted by NumPy: (Q, k) scores and rows."""
    vectors, queries = vectors.astype(np.float64), queries.astype(np.float64)
    cosines = (queries @ vectors.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(vectors, axis=1))
    rows = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, rows, axis=1), rows


def test_search_equals_brute_force_on_eight_thousand_vectors():
    vectors, queries = random_vectors(8000, 256), 5 * random_vectors(20, 256, seed=1)
    index = SearchIndex(256)
    index.add([str(row) for row in range(8000)], vectors)
    scores, ids = index.search(queries, k=10)
    expected_scores, expected_rows = brute_force(vectors, queries, k=10)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert ids == [[str(row) for row in line] for line in expected_rows]


def test_a_fair_search_takes_half_of_the_crowding_off(tmp_path: Path):
    vectors, queries = random_vectors(50), 5 * random_vectors(7, seed=1)
    crowds = np.random.default_rng(2).random(50).astype(np.float32)
    index = SearchIndex(WIDTH, "model-a")
    index.add([str(row) for row in range(50)], vectors, crowds)
    index.save(tmp_path)
    cosines, _ = brute_force(vectors, queries, k=50)
    for one in (index, SearchIndex.load(tmp_path, "model-a")):
        np.testing.assert_allclose(one.search(queries, k=50)[0], cosines, atol=1e-6)
        np.testing.assert_allclose(one.crowding(one.ids), crowds, atol=1e-6)
        scores, ids = one.search(queries, k=5, fair=True)
        for query, found, names in zip(queries, scores, ids, strict=True):
            fair = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query) - crowds / 2
            assert names == [str(row) for row in np.argsort(-fair)[:5]]
            np.testing.assert_allclose(found, np.sort(fair)[::-1][:5], atol=1e-6)


def test_an_index_saved_without_crowding_is_understood(tmp_path: Path):
    filled().save(tmp_path)
    old = faiss.IndexFlatIP(WIDTH)
    old.add(np.load(tmp_path / "embeddings.npy"))
    faiss.write_index(old, str(tmp_path / "faiss_index.bin"))
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    (tmp_path / "metadata.json").write_text(json.dumps(metadata | {"checksum": "of the other two, in its day"}))
    (tmp_path / "checksums.json").unlink()  # there were none
    queries = random_vectors(4, seed=3)
    for fair in (False, True):
        assert SearchIndex.load(tmp_path, "model-a").search(queries, 9, fair)[1] == filled().search(queries, 9)[1]


def test_a_vector_finds_itself_first_whatever_its_length():
    index = filled()
    scores, ids = index.search(0.001 * random_vectors(100)[42], k=3)
    assert ids[0][0] == "photo-42"
    assert scores[0, 0] == pytest.approx(1.0, abs=1e-6)


def test_adding_in_parts_equals_adding_at_once():
    parts, vectors = SearchIndex(WIDTH), random_vectors(100)
    parts.add([f"photo-{row}" for row in range(60)], vectors[:60])
    parts.add([f"photo-{row}" for row in range(60, 100)], vectors[60:])
    query = random_vectors(1, seed=9)
    assert parts.search(query, 100)[1] == filled().search(query, 100)[1]


def test_vectors_come_back_by_id_at_length_one():
    expected = random_vectors(100)[[7, 3]]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(filled().vectors(["photo-7", "photo-3"]), expected, atol=1e-6)


def test_more_results_than_entries_gives_all_entries():
    scores, ids = filled(5).search(random_vectors(2, seed=3), k=50)
    assert scores.shape == (2, 5)
    assert all(sorted(line) == [f"photo-{row}" for row in range(5)] for line in ids)


def test_saved_and_loaded_gives_identical_answers(tmp_path: Path):
    index, queries = filled(), random_vectors(10, seed=5)
    index.save(tmp_path / "vector_db")
    loaded = SearchIndex.load(tmp_path / "vector_db", fingerprint="model-a")
    scores, ids = index.search(queries, 10)
    loaded_scores, loaded_ids = loaded.search(queries, 10)
    np.testing.assert_array_equal(loaded_scores, scores)
    assert loaded_ids == ids
    assert sorted(path.name for path in (tmp_path / "vector_db").iterdir()) == [
        "checksums.json",
        "embeddings.npy",
        "faiss_index.bin",
        "metadata.json",
    ]
    np.testing.assert_array_equal(np.load(tmp_path / "vector_db" / "embeddings.npy"), index.vectors(index.ids))
    loaded.add(["new"], random_vectors(1, seed=6))
    assert loaded.search(random_vectors(1, seed=6), 1)[1] == [["new"]]


def test_a_saved_empty_index_loads_empty(tmp_path: Path):
    SearchIndex(WIDTH, "model-a").save(tmp_path)
    assert len(SearchIndex.load(tmp_path, "model-a")) == 0


def test_an_index_of_another_model_is_refused(tmp_path: Path):
    filled(fingerprint="model-a").save(tmp_path)
    with pytest.raises(InputError, match=r"built by another model \(model-a\).*\(model-b\)"):
        SearchIndex.load(tmp_path, fingerprint="model-b")


@pytest.mark.parametrize("name", ["embeddings.npy", "faiss_index.bin"])
def test_a_torn_a_missing_and_a_foreign_file_are_noticed(tmp_path: Path, name: str):
    filled().save(tmp_path / "one")
    filled(50).save(tmp_path / "other")
    file = tmp_path / "one" / name
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", (tmp_path / "other" / name).read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name} is not as it was written"):
            SearchIndex.load(tmp_path / "one", "model-a")
    file.unlink()
    with pytest.raises(InputError, match=f"{name} does not exist; run notebook 06_search first"):
        SearchIndex.load(tmp_path / "one", "model-a")


def test_torn_and_missing_metadata_are_noticed(tmp_path: Path):
    filled().save(tmp_path)
    metadata = tmp_path / "metadata.json"
    assert json.loads(metadata.read_text())["count"] == 100
    metadata.write_text(metadata.read_text()[:200])
    with pytest.raises(InputError, match=r"metadata\.json is not as it was written"):
        SearchIndex.load(tmp_path, "model-a")
    metadata.unlink()
    with pytest.raises(InputError, match="run notebook 06_search first"):
        SearchIndex.load(tmp_path, "model-a")


def test_ids_in_another_order_are_noticed(tmp_path: Path):
    filled().save(tmp_path)
    path = tmp_path / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"ids": metadata["ids"][::-1]}))
    with pytest.raises(InputError, match=r"metadata\.json is not as it was written"):
        SearchIndex.load(tmp_path, "model-a")


def test_whatever_is_no_index_of_this_kind_is_refused_though_it_is_sealed(tmp_path: Path):
    filled().save(tmp_path)
    vectors = random_vectors(100, WIDTH + 1)
    other_metric, other_kind, too_few = faiss.IndexFlatL2(WIDTH + 1), faiss.IndexHNSWFlat(WIDTH + 1, 8), None
    too_few = faiss.IndexFlatIP(WIDTH + 1)
    wider = faiss.IndexFlatIP(WIDTH + 2)
    for index, rows in [(other_metric, vectors), (other_kind, vectors), (too_few, vectors[:99])]:
        index.add(rows)
    wider.add(random_vectors(100, WIDTH + 2))
    files = [faiss.serialize_index(index).tobytes() for index in (other_metric, other_kind, too_few, wider)]
    for content in [*files, b"", b"IxFI" + bytes(100), files[2][:500]]:
        (tmp_path / "faiss_index.bin").write_bytes(content)
        seal(tmp_path, "faiss_index.bin")
        with pytest.raises(InputError, match="not one complete index; delete it and run notebook 06_search again"):
            SearchIndex.load(tmp_path, "model-a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": ["a", 1]}, r"ids\.1: Input should be a valid string"),
        ({"ids": None}, r"ids: Input should be a valid array"),
        ({"width": 10**12}, r"width: Input should be less than"),
        ({"width": "16"}, r"width: Input should be a valid integer"),
        ({"fingerprint": 7}, r"fingerprint: Input should be a valid string"),
        ({"ids": ["twice"] * 100}, "not one complete index"),
        ({"ids": []}, "not one complete index"),
        ({"width": 15}, "not one complete index"),
    ],
)
def test_metadata_of_another_shape_is_one_sentence(tmp_path: Path, change: dict, said: str):
    filled().save(tmp_path)
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    seal(tmp_path, "metadata.json")
    with pytest.raises(InputError, match=said):
        SearchIndex.load(tmp_path, "model-a")


def test_what_cannot_be_added_is_refused_and_leaves_the_index_as_it_was():
    index = filled(10)
    bad_row = random_vectors(3, seed=2)
    bad_row[1, 4] = np.nan
    cases = [
        (["a", "b"], random_vectors(2, WIDTH + 1), "do not fit an index"),
        (["a", "b"], random_vectors(3), "2 ids came with 3 vectors"),
        (["a", "b", "c"], bad_row, "1 of 3 vectors have no direction.*row 1"),
        (["a"], np.full((1, WIDTH), np.inf), "no direction"),
        (["a"], np.zeros((1, WIDTH)), "no direction"),
        (["a", "a"], random_vectors(2), "'a' would be in the index twice"),
        (["a", "photo-3"], random_vectors(2), "'photo-3' would be in the index twice"),
    ]
    for ids, vectors, message in cases:
        with pytest.raises(InputError, match=message):
            index.add(ids, vectors)
        assert len(index) == 10
    assert len(index.search(random_vectors(1), 50)[1][0]) == 10


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(InputError, match="index is empty"):
        SearchIndex(WIDTH).search(random_vectors(1), 5)
    for queries, k, message in [
        (random_vectors(1, 3), 5, "do not fit an index"),
        (np.full(WIDTH, np.nan), 5, "no direction"),
        (random_vectors(1), 0, "at least 1 result"),
    ]:
        with pytest.raises(InputError, match=message):
            filled().search(queries, k)
    with pytest.raises(InputError, match="'nowhere' is not in the index"):
        filled().vectors(["nowhere"])


class Colours(torch.nn.Module):
    """Stands in for a trained model: a photo is its mean colour, a text the colour whose name it holds."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self.config = DualEncoderConfig(tokenizer.vocab_size, photo_size=8)
        self.axes = {tokenizer.encode(name, 8)[1]: axis for axis, name in enumerate(["red", "green", "blue"])}

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(pixels.float().mean(dim=(1, 2)), dim=1)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([(tokens == token).any(dim=1).float() for token in self.axes], dim=1)


def test_a_query_of_text_photo_or_both():
    tokenizer = build_tokenizer("word", ["a red green blue photo"])
    pair = EncoderPair(Colours(tokenizer), tokenizer)
    red = Image.new("RGB", (20, 10), "red")
    np.testing.assert_allclose(query_vector(pair, text="a blue photo"), [0, 0, 1])
    np.testing.assert_allclose(query_vector(pair, photo=red), [1, 0, 0])
    np.testing.assert_allclose(query_vector(pair, text="blue", photo=red), [0.5, 0, 0.5])
    with pytest.raises(InputError, match="text, a photo or both"):
        query_vector(pair)
    with pytest.raises(InputError, match="has no words"):
        query_vector(pair, text=" ?! ")
    with pytest.raises(InputError, match=r"has 2,500 characters; ask with 2,000 at most"):
        query_vector(pair, text="blue " * 500)


def test_a_good_index_is_not_to_be_made_again_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("std::bad_alloc")

    filled().save(tmp_path)
    monkeypatch.setattr(faiss, "read_index", fail)
    with pytest.raises(InputError, match=r"faiss_index\.bin could not be loaded .* left as it is; free some memory"):
        SearchIndex.load(tmp_path, "model-a")
