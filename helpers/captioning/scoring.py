"""Caption scores on the scale of the papers: BLEU-1..4, ROUGE-L, CIDEr-D and, where Java is there, METEOR.

The scorers are those of coco-caption (Chen et al. 2015, arXiv:1504.00325), through the package pycocoevalcap, so
that figures compare with published ones. Three habits make scores incomparable, and none is used here: references
are the full, uncleaned captions; all of a photo's references count at once; captions are decoded freely, never
teacher-forced.

- BLEU-n (Papineni et al. 2002): clipped n-gram precision over the whole set, with a brevity penalty.
- ROUGE-L (Lin 2004): longest common subsequence, best reference for precision and for recall, beta = 1.2.
- CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726): agreement with the references, n-grams weighted by how rare they
  are in this set's own references. What pycocoevalcap calls `Cider` clips counts, punishes differences of length
  with a Gaussian (sigma 6) and multiplies by ten: it is the D variant. Only figures from the same split compare.
- METEOR 1.5 (Denkowski and Lavie 2014): matches synonyms and stems; a Java program that pycocoevalcap ships.
"""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pycocoevalcap
import regex
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from helpers.data.text import UNSPACED, is_english
from helpers.files import InputError
from helpers.uncertainty import Interval, interval, mean_interval

METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d", "meteor")

# Dropped before scoring, as coco-caption does. Its list also names -LRB- and -LCB-, but its tokeniser has put
# everything in lower case by then, so brackets stay in as -lrb-; published scores hold them, and so do ours.
DROPPED = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())
_DROPPED_ELSEWHERE = frozenset("。，、！？：；（）「」『』《》・،؛؟।॥¿¡«»„·")  # which coco-caption never met

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_QUOTES = str.maketrans({"’": "'", "‘": "`", '"': " '' ", "“": " `` ", "”": " '' ", "–": "--", "—": "--", "…": "..."})
_ONE_WORD = re.compile(
    r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b|\b(y')(all)\b|(?<!\w)('t)(is|was)\b"
)
_SMALL_AND = re.compile(r"(?<![A-Z])&|&(?![A-Z])")  # a word of its own, unlike that of AT&T
_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))(?!\w)")
_ABBREVIATIONS = "mr|mrs|ms|dr|st|jr|sr|vs|etc|inc|co|corp|ltd|prof|rev|gen|sgt|capt|lt|col|gov|sen|rep|ave|blvd|mt|ft"
_PATTERN = rf"""
    [\w.+-]+@[\w-]+(?:\.[\w-]+)+                # me@site.com
  | https?://\S+ | <\w+>                        # addresses and tags
  | n't(?!\w) | '(?:s|m|d|re|ve|ll|t)(?!\w)     # what was split off don't and dog's
  | 'n' | (?<!\w)'\d\ds? | y'(?=\sall) | ma'am\b | [odl]'\w+  # rock 'n' roll, '80s, y'all, o'clock
  | (?:{_ABBREVIATIONS})\.(?!\w) | ph\.d\. | no\.(?=\s?\d)  # mr., and the no. of no. 1
  | [a-z]+(?:&[a-z]+)+                          # at&t
  | [^\W\d_](?:\.[^\W\d_])*\.(?!\w)             # d.c., and the u. of u. miami
  | (?:\+|(?<!\w)-)\d+(?:[.,:/]\d+)*            # +1 and -1
  | \d+(?:[.,:/]\d+)* (?=[ap]m\b)               # the 7:30 of 7:30am
  | \d+(?:[.,:/]\d+)+                           # 3,000 and 10:30 and 1/2
  | \w+(?:[-./]\w+)*                            # words, with inner hyphens, dots and slashes
  | [!?]{{2,}} | --+ | '' | \S                  # punctuation
    """
_TOKEN = re.compile(_PATTERN, re.VERBOSE)
_ANY_TOKEN = regex.compile(_PATTERN, regex.VERBOSE)  # whose letters bring their accents and vowel signs
_UNSPACED = regex.compile(UNSPACED)


def tokenize(caption: str) -> list[str]:
    """Split a caption as coco-caption's PTBTokenizer does: lower case, Penn Treebank style, punctuation dropped.

    Possessives and contractions are split (dog's: dog 's; don't: do n't; cannot: can not), hyphenated words and
    abbreviations stay whole, and the tokens in `DROPPED` go. Where a script has no spaces, each character is a token,
    and scores are of characters, as those of published Chinese captioners.

    >>> tokenize('The dog\'s owner, in a "T-shirt", can\'t run.')
    ['the', 'dog', "'s", 'owner', 'in', 'a', 't-shirt', 'ca', "n't", 'run']
    """
    if not caption.isascii():
        caption = _UNSPACED.sub(r" \g<0> ", normalize("NFC", caption))
    text = _SMALL_AND.sub(" & ", caption).lower().translate(_QUOTES)
    text = _ONE_WORD.sub(lambda match: " ".join(part for part in match.groups() if part), text)
    text = _CONTRACTION.sub(r" \1", text)
    if text.isascii():
        tokens = [_BRACKETS.get(token, token) for token in _TOKEN.findall(text)]
        return [token for token in tokens if token not in DROPPED]
    tokens = [_BRACKETS.get(token, token) for token in _ANY_TOKEN.findall(text)]
    return [token for token in tokens if token not in DROPPED and token not in _DROPPED_ELSEWHERE]


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], meteor: bool = False
) -> dict[str, float | None]:
    """Score one caption a photo against that photo's references.

    Args:
        candidates: photo id -> generated caption.
        references: photo id -> its full captions, as the data set has them; other photos in it are ignored.
        meteor: also run METEOR, which takes Java and about ten seconds.

    Returns:
        Percentages for `bleu_1` .. `bleu_4`, `rouge_l`, `meteor` (None: not computed) and `distinct_share` (captions
        that differ among all); `cider_d` on the papers' scale of 100 (it can pass 100); `vocabulary_used`, the number
        of different tokens; `mean_length` in tokens, punctuation not counted.

    Raises:
        InputError: a photo has no reference, or there is nothing to score.

    >>> photos = {"a": ["a dog runs on the grass"], "b": ["two cats sleep on a sofa"]}
    >>> score_captions({"a": "a dog runs on the grass", "b": "a cat sleeps"}, photos)["distinct_share"]
    100.0
    """
    results, truths = _tokenized(candidates, references)
    bleu, _ = Bleu(4).compute_score(truths, results, verbose=0)
    rouge, _ = Rouge().compute_score(truths, results)
    cider, _ = Cider().compute_score(truths, results)
    words = [result[0].split() for result in results.values()]
    return {
        **{f"bleu_{n}": 100 * float(score) for n, score in enumerate(bleu, start=1)},
        "rouge_l": 100 * float(rouge),
        "cider_d": 100 * float(cider),
        "meteor": meteor_score(truths, results) if meteor else None,
        "distinct_share": 100 * len({result[0] for result in results.values()}) / len(results),
        "vocabulary_used": len({word for caption in words for word in caption}),
        "mean_length": sum(map(len, words)) / len(words),
    }


def _tokenized(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Captions and references of each photo as the scorers take them; see `score_captions`."""
    if not candidates:
        raise InputError("There is no caption to score; decode at least one photo first.")
    results = {photo: [" ".join(tokenize(caption))] for photo, caption in candidates.items()}
    truths = {photo: [" ".join(tokenize(caption)) for caption in references.get(photo, ())] for photo in candidates}
    for photo, captions in truths.items():
        if not any(captions):
            raise InputError(f"The photo {photo!r} has no reference caption to score against; give it at least one.")
    return results, truths


def cider_by_photo(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> np.ndarray:
    """CIDEr-D of each photo (N,), in the order of `candidates`; their mean is the `cider_d` of `score_captions`."""
    results, truths = _tokenized(candidates, references)
    return 100 * np.asarray(Cider().compute_score(truths, results)[1], float)


def rouge_by_photo(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> np.ndarray:
    """ROUGE-L of each photo in percent (N,), in the order of `candidates`: what a single caption is best judged by."""
    results, truths = _tokenized(candidates, references)
    return 100 * np.asarray(Rouge().compute_score(truths, results)[1], float)


def bleu_4_of(counts: np.ndarray) -> np.ndarray:
    """BLEU-4 in percent of summed counts (..., 10): matches and guesses of 1 to 4 words, and the two lengths."""
    matches, guesses, lengths = counts[..., :4], counts[..., 4:8], counts[..., 8:]
    # As pycocoevalcap: a hair above 0, so that no match at all is a score of 0 and not an error.
    precision = np.exp((np.log(matches + 1e-15) - np.log(guesses + 1e-9)).mean(axis=-1))
    ratio = (lengths[..., 0] + 1e-15) / (lengths[..., 1] + 1e-9)
    return 100 * precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def bleu_counts(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> np.ndarray:
    """What each photo adds to BLEU-4 (N, 10): BLEU is not a mean over photos but a ratio of sums; see `bleu_4_of`."""
    results, truths = _tokenized(candidates, references)
    scorer = BleuScorer(n=4)
    for photo, (text,) in results.items():
        scorer += (text, truths[photo])
    closest = [min(part["reflen"], key=lambda n: (abs(n - part["testlen"]), n)) for part in scorer.ctest]
    parts = zip(scorer.ctest, closest, strict=True)
    return np.array([[*part["correct"], *part["guess"], part["testlen"], length] for part, length in parts], float)


def score_intervals(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, Interval]:
    """How sure BLEU-4 and CIDEr-D of `score_captions` are: the bootstrap interval of each over the photos."""
    counts = bleu_counts(candidates, references)
    return {
        "bleu_4": interval(lambda rows: bleu_4_of(counts[rows].sum(axis=1)), len(counts)),
        "cider_d": mean_interval(cider_by_photo(candidates, references)),
    }


def meteor_score(
    truths: Mapping[str, Sequence[str]], results: Mapping[str, Sequence[str]], seconds: float = 300
) -> float | None:
    """METEOR in percent of tokenised captions, or None with a printed reason where it cannot be computed.

    Runs the Java program once over two files; the process is ended when it takes longer than `seconds`.
    """
    if not is_english(caption for captions in truths.values() for caption in captions):
        print("METEOR not computed: it knows the stems and synonyms of English, and these captions are not English.")
        return None
    if shutil.which("java") is None:
        print("METEOR not computed: Java is not installed.")
        return None
    # The program wants the same number of references for each photo. It takes the best one, so repeats are harmless.
    most = max(len(truths[photo]) for photo in results)
    padded = [list(truths[photo]) + [truths[photo][0]] * (most - len(truths[photo])) for photo in results]
    jar = Path(pycocoevalcap.__path__[0]) / "meteor" / "meteor-1.5.jar"
    with tempfile.TemporaryDirectory() as folder:
        tested, reference = Path(folder) / "tested.txt", Path(folder) / "references.txt"
        tested.write_text("".join(f"{result[0]}\n" for result in results.values()), encoding="utf-8")
        reference.write_text("".join(f"{caption}\n" for captions in padded for caption in captions), encoding="utf-8")
        command = [
            "java",
            "-Xmx1G",
            "-jar",
            str(jar),
            str(tested),
            str(reference),
            "-l",
            "en",
            "-norm",
            "-r",
            str(most),
        ]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"METEOR not computed: {error}")
            return None
    final = re.search(r"^Final score:\s+([\d.]+)", run.stdout, re.MULTILINE)
    if final is None:
        print("METEOR not computed: the program printed no final score.")
        return None
    return 100 * float(final[1])


def blind_caption(captions: Sequence[Sequence[str]]) -> str:
    """The one caption that scores the best BLEU-4 when given to every training photo: a captioner without eyes.

    Chosen among all training captions. Its score on another split is what a model must beat to prove that it looks.

    Args:
        captions: the captions of each training photo.
    """
    tokenized = [[tuple(tokenize(caption)) for caption in photo] for photo in captions]
    # How many photos hold an n-gram at least m times in one reference: all that clipped precision needs to know.
    holders: Counter[tuple[tuple[str, ...], int]] = Counter()
    lengths: Counter[tuple[int, ...]] = Counter()
    for photo in tokenized:
        most = Counter()
        for words in photo:
            most |= Counter(_ngrams(words))
        holders.update((ngram, m) for ngram, count in most.items() for m in range(1, count + 1))
        lengths[tuple(sorted({len(words) for words in photo}))] += 1
    # BLEU's brevity penalty compares with the reference closest in length, the shorter one of two equally close.
    closest = {
        length: sum(min(own, key=lambda n: (abs(n - length), n)) * photos for own, photos in lengths.items())
        for length in {len(words) for photo in tokenized for words in photo}
    }

    def counts(words: tuple[str, ...]) -> list[int]:
        """What all photos together add to its BLEU-4, see `bleu_4_of`."""
        matches = [0] * 4
        for ngram, count in Counter(_ngrams(words)).items():
            matches[len(ngram) - 1] += sum(holders[ngram, m] for m in range(1, count + 1))
        guesses = [max(0, len(words) - n) * len(tokenized) for n in range(4)]
        return [*matches, *guesses, len(words) * len(tokenized), closest[len(words)]]

    candidates = {
        words: caption
        for photo, texts in zip(tokenized, captions, strict=True)
        for words, caption in zip(photo, texts, strict=True)
        if words
    }
    if not candidates:
        raise InputError("There is no training caption to choose a blind caption from; give at least one.")
    worth = bleu_4_of(np.array([counts(words) for words in candidates]))  # (captions,)
    return candidates[max(zip(worth, candidates, strict=True))[1]]


def _ngrams(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for n in range(1, 5):
        for start in range(len(words) - n + 1):
            yield tuple(words[start : start + n])
