import json
from pathlib import Path

import numpy as np
import pytest

from helpers.data.text import build_tokenizer, clean_caption, is_english, load_tokenizer
from helpers.files import InputError

CAPTIONS = [
    "A man's tri-colored dog , on a hill .",
    "Two dogs run on the beach .",
    "A dog runs on the beach , and a man runs too .",
    "The dog is running over the grass .",
]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("A dog runs .", "a dog runs"),
        ("A man's dog, on a hill!", "a man's dog on a hill"),
        ("T-shirt #4 :  'hello'", "t-shirt 4 hello"),
        ("two\tdogs\nrun", "two dogs run"),
        ("a_b", "a b"),
        ("the boy’s hat", "the boy's hat"),
        (" . , ", ""),
        ("Ein Schäfchen", "ein schäfchen"),
        ("Cafe\u0301 Ko\u0308ln", "café köln"),  # decomposed, as a Mac writes it
        ("كَلْبٌ يَرْكُضُ عَلَى العُشْبِ .", "كَلْبٌ يَرْكُضُ عَلَى العُشْبِ"),  # vowel signs belong to their letters
        ("एक कुत्ता घास पर दौड़ रहा है।", "एक कुत्ता घास पर दौड़ रहा है"),
        ("می\u200cدود .", "می\u200cدود"),  # an invisible joint inside of a Persian word
        ("一只狗，在草地上。", "一 只 狗 在 草 地 上"),
        ("สุนัขวิ่ง", "สุ นั ข วิ่ ง"),
        ("개가 달린다.", "개가 달린다"),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_caption(raw) == clean


@pytest.mark.parametrize("kind", ["word", "wordpiece"])
def test_captions_round_trip(kind: str) -> None:
    tokenizer = build_tokenizer(kind, CAPTIONS)
    for caption in CAPTIONS:
        ids = tokenizer.encode(caption, 60)
        assert (ids[0], ids[-1]) == (tokenizer.sos_id, tokenizer.eos_id)
        assert tokenizer.unk_id not in ids
        assert tokenizer.decode(ids) == clean_caption(caption)
        assert tokenizer.decode(ids + [tokenizer.pad_id] * 3) == clean_caption(caption)


@pytest.mark.parametrize("kind", ["word", "wordpiece"])
def test_truncation_keeps_the_end_mark(kind: str) -> None:
    tokenizer = build_tokenizer(kind, CAPTIONS)
    full, cut = tokenizer.encode(CAPTIONS[2], 60), tokenizer.encode(CAPTIONS[2], 5)
    assert cut == [*full[:4], tokenizer.eos_id]


def test_wordpiece_spells_unseen_words_and_word_does_not() -> None:
    word, wordpiece = (build_tokenizer(kind, CAPTIONS) for kind in ("word", "wordpiece"))
    assert word.unk_id in word.encode("a horse", 10)
    unseen = wordpiece.encode("a quick zebra", 30)  # no caption has a q or a z
    assert wordpiece.unk_id not in unseen
    assert wordpiece.decode(unseen) == "a quick zebra"


LANGUAGES = {
    "German": ["Ein Schäfchen läuft über die Straße .", "Zwei Hunde spielen im Schnee , und ein Mann schaut zu ."],
    "Arabic": ["كَلْبٌ يَرْكُضُ عَلَى العُشْبِ .", "رجل يركب حصانًا بنيًّا ."],
    "Chinese": ["一只狗在草地上奔跑。", "两个孩子在沙滩上玩 T-shirt。"],
}


@pytest.mark.parametrize("kind", ["word", "wordpiece"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_of_any_language_round_trip(kind: str, language: str) -> None:
    """What a model would write cleans to what it was trained on, and is written as the language is."""
    tokenizer = build_tokenizer(kind, LANGUAGES[language])
    for caption in LANGUAGES[language]:
        ids = tokenizer.encode(caption, 60)
        assert tokenizer.unk_id not in ids
        assert clean_caption(tokenizer.decode(ids)) == clean_caption(caption)
    if language == "Chinese":
        assert tokenizer.decode(tokenizer.encode(LANGUAGES[language][0], 60)) == "一只狗在草地上奔跑"
        assert "狗" in tokenizer.vocabulary


def test_ascii_is_cleaned_as_all_other_text() -> None:
    """There are two ways through the cleaning, one of them for speed: an é at the end makes it take the other."""
    for caption in [*CAPTIONS, "T-shirt #4 :  'hello' a_b 3,000 rock'n'roll --x-- o'clock's"]:
        assert clean_caption(f"{caption} é") == f"{clean_caption(caption)} é"


def test_english_is_told_from_other_languages() -> None:
    assert is_english(CAPTIONS)
    assert is_english(["red car", "two dogs", "12"])  # nothing speaks against it
    assert not any(map(is_english, LANGUAGES.values()))
    assert not is_english(["Un chien court sur la plage .", "Une femme et un enfant dans le parc ."])
    assert not is_english(["Un perro corre en la playa .", "Una mujer con un niño ."])


def test_a_count_that_leaves_no_word_is_refused() -> None:
    with pytest.raises(InputError, match=r"caption_min_count=9 leaves no word .*'a', is in them 4 times"):
        build_tokenizer("word", CAPTIONS, min_count=9)


def test_rare_words_become_unknown() -> None:
    tokenizer = build_tokenizer("word", CAPTIONS, min_count=2)
    words = {tokenizer.token(i) for i in range(tokenizer.vocab_size)}
    assert {"a", "dog", "on", "the", "runs", "beach"} <= words
    assert "grass" not in words


@pytest.mark.parametrize("kind", ["word", "wordpiece"])
def test_vocabulary_repeats_and_survives_saving(kind: str, tmp_path: Path) -> None:
    first, second = build_tokenizer(kind, CAPTIONS), build_tokenizer(kind, list(CAPTIONS))
    first.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.kind == kind
    assert [t.encode_all(CAPTIONS, 30) for t in (second, loaded)] == [first.encode_all(CAPTIONS, 30)] * 2
    assert loaded.vocab_size == first.vocab_size


def test_batch_is_padded_with_zero() -> None:
    tokenizer = build_tokenizer("word", CAPTIONS)
    batch = tokenizer.encode_batch(["a dog", "two dogs run on the beach"], 30)
    assert (batch.shape, batch.dtype) == ((2, 8), np.int64)
    assert batch[0].tolist() == [*tokenizer.encode("a dog", 30), 0, 0, 0, 0]


def test_bad_input_is_named(tmp_path: Path) -> None:
    tokenizer = build_tokenizer("word", CAPTIONS)
    with pytest.raises(InputError, match="has no words"):
        tokenizer.encode(" . ", 10)
    with pytest.raises(InputError, match="leaves no room"):
        tokenizer.encode("a dog", 2)
    with pytest.raises(InputError, match="no tokenizer 'words'"):
        build_tokenizer("words", CAPTIONS)
    with pytest.raises(InputError, match="needs captions"):
        build_tokenizer("word", ["", " . "])
    with pytest.raises(InputError, match="does not exist"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        load_tokenizer(tmp_path)


def test_a_file_whose_unknown_words_have_no_entry_is_refused(tmp_path: Path) -> None:
    """The library reads it, and raises a bare Exception at the first word that it does not know."""
    build_tokenizer("word", CAPTIONS).save(tmp_path)
    (tmp_path / "checksums.json").unlink()
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["unk_token"] = "[UNK]"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer\.json is damaged: .* unknown words are not <UNK>"):
        load_tokenizer(tmp_path)


def bert_folder(tmp_path: Path, entries: int) -> Path:
    """A folder that `from_pretrained` takes for BERT's, with as many made-up entries."""
    specials = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["a", "man", "'", "s", "dog", "runs", "tri", "-", "colored"]
    rows = [*specials, *words, *(f"entry{n}" for n in range(entries - len(specials) - len(words)))]
    (tmp_path / "vocab.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    return tmp_path


def test_bert_vocabulary_gets_two_marks_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.data.text.BERT_NAME", str(bert_folder(tmp_path, 30_522)))
    tokenizer = build_tokenizer("bert", [])
    assert tokenizer.vocab_size == 30_524
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.sos_id, tokenizer.eos_id) == (0, 100, 30_522, 30_523)
    ids = tokenizer.encode("A man's tri-colored dog runs .", 30)
    assert tokenizer.decode(ids) == "a man's tri-colored dog runs"
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").encode("a man runs", 30) == tokenizer.encode("a man runs", 30)


def test_incomplete_bert_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.data.text.BERT_NAME", str(bert_folder(tmp_path, 200)))
    with pytest.raises(InputError, match="200 entries instead of 30,522"):
        build_tokenizer("bert", [])


def test_bert_without_network_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.data.text.BERT_NAME", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="caption_tokenizer=wordpiece"):
        build_tokenizer("bert", [])


def test_a_caption_that_begins_inside_a_word_is_shown_without_marks() -> None:
    tokenizer = build_tokenizer("wordpiece", ["running dogs", "runs"])
    inner = next(i for i, piece in enumerate(tokenizer.vocabulary) if piece.startswith("##"))
    assert tokenizer.decode([tokenizer.sos_id, inner]) == tokenizer.token(inner)[2:]
