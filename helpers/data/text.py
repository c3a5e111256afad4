"""From a caption to token ids and back.

Three vocabularies behind one class, all run by the Hugging Face `tokenizers` library:

- `word`: every word of the training captions that occurs often enough; the classic choice, and the largest.
- `wordpiece`: pieces learned from the training captions (Schuster and Nakajima 2012; Wu et al. 2016); an unseen
  word is spelled from pieces, so nothing is unknown. Needs no download.
- `bert`: the 30,522 pieces of `bert-base-uncased` (Devlin et al. 2019) with `<SOS>` and `<EOS>` added.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from unicodedata import normalize

import numpy as np
import regex
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from helpers.artefacts import check, seal
from helpers.files import InputError, atomic_path

PAD, SOS, EOS, UNK = "<PAD>", "<SOS>", "<EOS>", "<UNK>"
KINDS = ("word", "wordpiece", "bert")
_FILE = "tokenizer.json"

# A word is letters or digits, with apostrophes and hyphens allowed inside: "man's", "tri-colored", and "a".
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")

# The same for all the world: letters with their accents and vowel signs, and invisible joints inside. Scripts that put
# no spaces between words have a word for each character.
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
_LETTERS = rf"(?:(?!{UNSPACED})[\p{{L}}\p{{N}}][\p{{M}}\u200c\u200d]*)+"
_ANY_WORD = regex.compile(rf"{UNSPACED}|{_LETTERS}(?:['-]{_LETTERS})*")
_GAP = regex.compile(rf"(?<={UNSPACED}) (?={UNSPACED})")

_ENGLISH = frozenset("a an the and of with on in is are".split())
_NOT_ENGLISH = frozenset(  # words as small and as frequent: German, French, Spanish, Italian, Dutch, Swedish, Polish
    "der die das den ein eine einen und mit auf im le la les un une des et avec dans sur el los las una con y il di "
    "che het een van met op de och på ett jest na z w się".split()
)


def tidy(text: str) -> str:
    """Text with its punctuation where print has it, as captions often have not.

    >>> tidy("A dog , a brown one , runs on the grass .")
    'A dog, a brown one, runs on the grass.'
    """
    return re.sub(r"[ \t]+([.,;:!?])(?=\s|$)", r"\1", text)


def clean_caption(text: str) -> str:
    """Lower-case words separated by single spaces; punctuation goes, one-letter words like "a" stay.

    Words of any language; see `UNSPACED` for those without spaces.

    >>> clean_caption("A man's tri-colored dog , on a hill .")
    "a man's tri-colored dog on a hill"
    >>> clean_caption("一只狗 in Köln。")
    '一 只 狗 in köln'
    """
    if text.isascii():
        return " ".join(_WORD.findall(text.lower()))
    return " ".join(_ANY_WORD.findall(normalize("NFC", text.lower()).replace("’", "'")))


def telegram(caption: str) -> str:
    """A caption as a hard cleaning leaves it: `clean_caption`, less the words of one letter.

    Of one Latin letter: in Chinese, a sign is a word.

    >>> telegram("A man with a dog in Köln .")
    'man with dog in köln'
    >>> telegram("一只狗 in a car")
    '一 只 狗 in car'
    """
    return " ".join(word for word in clean_caption(caption).split() if len(word) > 1 or not word.isascii())


def is_english(captions: Iterable[str]) -> bool:
    """Whether captions look English, by the smallest words in them; so do those that say nothing against it."""
    words = [word for caption in islice(captions, 500) for word in clean_caption(caption).split()]
    latin = sum(word[0] < "\u0250" for word in words)  # and digits
    english, other = (sum(word in small for word in words) for small in (_ENGLISH, _NOT_ENGLISH))
    return 2 * latin >= len(words) and english >= other


class Tokenizer:
    """A vocabulary with `<SOS>` and `<EOS>`; `pad_id` is always 0.

    Attributes:
        kind: "word", "wordpiece" or "bert".
        vocab_size: number of ids, specials included.
        pad_id, sos_id, eos_id, unk_id: ids of the special tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer, kind: str) -> None:
        self._backend = backend
        self.kind = kind
        self.vocab_size = backend.get_vocab_size()
        specials = ("[PAD]", SOS, EOS, "[UNK]") if kind == "bert" else (PAD, SOS, EOS, UNK)
        ids = [backend.token_to_id(token) for token in specials]
        if None in ids or ids[0] != 0 or getattr(backend.model, "unk_token", None) != specials[-1]:
            raise InputError(
                f"The {kind} vocabulary lacks one of {', '.join(specials)}, padding is not id 0, or unknown words are "
                f"not {specials[-1]}."
            )
        self.pad_id, self.sos_id, self.eos_id, self.unk_id = ids

    def encode(self, text: str, max_length: int) -> list[int]:
        """`<SOS>`, the tokens, `<EOS>`: at most `max_length` ids, `<EOS>` always among them.

        Raises:
            InputError: nothing is left of `text` after cleaning, or `max_length` is below 3.
        """
        return self.encode_all([text], max_length)[0]

    def encode_all(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """`encode` for many texts, on all cores."""
        if max_length < 3:
            raise InputError(
                f"A length limit of {max_length} tokens leaves no room between <SOS> and <EOS>; use 3 or more."
            )
        cleaned = [clean_caption(text) for text in texts]
        for text, words in zip(texts, cleaned, strict=True):
            if not words:
                raise InputError(f"The text {text!r} has no words; give at least one.")
        encodings = self._backend.encode_batch(cleaned, add_special_tokens=False)
        # Cut the tokens, then add <EOS>: cutting afterwards would teach the model never to stop.
        return [[self.sos_id, *encoding.ids[: max_length - 2], self.eos_id] for encoding in encodings]

    def encode_batch(self, texts: Sequence[str], max_length: int) -> np.ndarray:
        """Ids of all texts as one int64 array (N, T), padded with `pad_id`; T is the longest text's length."""
        rows = self.encode_all(texts, max_length)
        batch = np.full((len(rows), max(map(len, rows))), self.pad_id, np.int64)  # (N, T)
        for row, ids in zip(batch, rows, strict=True):
            row[: len(ids)] = ids
        return batch

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first `<EOS>`, without special tokens."""
        kept = []
        for token in ids:
            if token == self.eos_id:
                break
            if token not in (self.pad_id, self.sos_id, self.unk_id):
                kept.append(int(token))
        text = self._backend.decode(kept, skip_special_tokens=False)
        text = text.removeprefix("##")  # a piece from inside a word that came first
        if not text.isascii():
            text = _GAP.sub("", text)
        # BERT's vocabulary splits words at apostrophes and hyphens; put them back together.
        return re.sub(r" ?(['-]) ?", r"\1", text) if self.kind == "bert" else text

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All pieces of text, in the order of their ids."""
        return tuple(map(self.token, range(self.vocab_size)))

    def token(self, token_id: int) -> str:
        """The piece of text that `token_id` stands for."""
        return self._backend.id_to_token(int(token_id))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder`; `load_tokenizer` reads it without any download."""
        with atomic_path(folder / _FILE) as temporary:
            self._backend.save(str(temporary))
        seal(folder, _FILE)


def load_tokenizer(folder: Path, vocab_size: int | None = None) -> Tokenizer:
    """The tokenizer saved in `folder`, which must have `vocab_size` entries, if that is given.

    Raises:
        InputError: there is none, or it is damaged or of another model.
    """
    path = folder / _FILE
    check("the notebook that trains this model", path)
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise InputError(f"{path} is damaged ({error}); train the model again.") from None
    if vocab_size is not None and backend.get_vocab_size() != vocab_size:
        raise InputError(
            f"{path} has {backend.get_vocab_size():,} entries and the model beside it knows {vocab_size:,}; "
            "train the model again."
        )
    kind = "wordpiece" if isinstance(backend.model, models.WordPiece) else "word"
    try:
        return Tokenizer(backend, kind if backend.token_to_id("[PAD]") is None else "bert")
    except InputError as error:
        raise InputError(f"{path} is damaged: {error} Train the model again.") from None


def build_tokenizer(kind: str, captions: Iterable[str], *, min_count: int = 1, vocab_size: int = 4000) -> Tokenizer:
    """A tokenizer for `captions`, which should be the training captions only.

    Args:
        kind: "word", "wordpiece" or "bert".
        captions: raw texts; they are cleaned here.
        min_count: `word` only: rarer words become `<UNK>`.
        vocab_size: `wordpiece` only: the most pieces to learn.

    Raises:
        InputError: unknown kind, no captions, no word as often as `min_count`, or BERT's vocabulary cannot be loaded.
    """
    if kind not in KINDS:
        raise InputError(f"There is no tokenizer {kind!r}; choose one of: {', '.join(KINDS)}.")
    if kind == "bert":
        return _bert_tokenizer()
    cleaned = [clean_caption(caption) for caption in captions]
    if not any(cleaned):
        raise InputError(f"A {kind} vocabulary needs captions to learn from, and none was given.")
    build = _word_tokenizer if kind == "word" else _wordpiece_tokenizer
    return Tokenizer(build(cleaned, min_count if kind == "word" else vocab_size), kind)


def _word_tokenizer(captions: list[str], min_count: int) -> tokenizers.Tokenizer:
    counts = Counter(word for caption in captions for word in caption.split())
    frequent = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    if not frequent:
        word, count = counts.most_common(1)[0]
        raise InputError(
            f"caption_min_count={min_count} leaves no word of the training captions: the most frequent, {word!r}, "
            f"is in them {count:,} times; set it lower."
        )
    vocabulary = {token: index for index, token in enumerate([PAD, SOS, EOS, UNK, *frequent])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def _wordpiece_tokenizer(captions: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    # Single letters, at the start of a word and inside one, come first: any word can then be spelled, and the
    # pieces learned no longer depend on the order in which the trainer meets the letters.
    letters = sorted(set("".join(captions)).difference(" ").union(string.ascii_lowercase + string.digits))
    alphabet = [*letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=[PAD, SOS, EOS, UNK, *alphabet], show_progress=False
    )
    trained = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trained.train_from_iterator(captions, trainer)
    backend = tokenizers.Tokenizer(models.WordPiece(trained.get_vocab(), unk_token=UNK))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece(cleanup=False)
    return backend


BERT_NAME, BERT_SIZE = "bert-base-uncased", 30_522


def _bert_tokenizer() -> Tokenizer:
    from helpers.hugging_face import load_pretrained  # here, since it imports PyTorch

    instead = "use a vocabulary that is learned here: caption_tokenizer=wordpiece or word"
    (pretrained,) = load_pretrained(BERT_NAME, ("AutoTokenizer",), "The vocabulary of", instead)
    # A vocabulary file passed the wrong way yields five entries and no error; so the size is checked.
    if len(pretrained) != BERT_SIZE:
        raise InputError(
            f"{BERT_NAME} came with {len(pretrained):,} entries instead of {BERT_SIZE:,}; "
            "its cached copy is incomplete: delete it from the Hugging Face cache and run again."
        )
    pretrained.add_special_tokens({"bos_token": SOS, "eos_token": EOS})
    return Tokenizer(pretrained.backend_tokenizer, "bert")
