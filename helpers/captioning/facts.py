"""What a score hides: on the drawn sample the truth is known, so captions can be checked fact by fact.

BLEU and CIDEr-D count the words that a person wrote, too. "A woman in a red dress on the grass" for a woman in blue
shares all words but one with what people say, and is wrong about the one thing that tells her from the others.
`stated` reads what a caption says, and `fact_table` compares it with the `Scene` that the picture was drawn from.

    scenes = drawn_scenes({photo.id: photo.path for photo in photos["test"]})  # empty for real photos
    table = fact_table(texts, scenes)
    print_facts({"lstm": table})
    paired(checked(texts, scenes, "clothes"), guessed(scenes, "clothes"))  # of the same photos, with an interval

A caption may leave out what it likes; what it leaves out counts as neither right nor wrong, and is counted apart.
"""

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from helpers.data.text import clean_caption
from helpers.sample.captions import KINDS, PEOPLE, PLACES, RELATIONS, VERBS, Scene, plural
from helpers.uncertainty import Interval, mean_interval

ASPECTS = ("subject", "number", "colour", "clothes", "action", "place", "relation", "thing", "thing's colour")
Facts = dict[str, dict[str, float]]  # by aspect
Checked = dict[tuple[str, str], bool]  # by photo and aspect: whether what is said of it is so


def _any_of(words: Mapping[str, object]) -> str:
    """A pattern for one of `words` as a whole, the longest that fits."""
    return rf"\b({'|'.join(sorted(words, key=len, reverse=True))})\b"


_KINDS_NAMED: dict[str, frozenset[str]] = {}  # "dogs" -> dog; "child" -> boy, girl
for _kind, _named in KINDS.items():
    for _noun in (*_named.nouns, *map(plural, _named.nouns)):
        _KINDS_NAMED[_noun] = _KINDS_NAMED.get(_noun, frozenset()) | {_kind}
_COLOURS = {colour.replace("-", " "): colour for kind in KINDS.values() for colour in kind.colours}
_PLACE_NAMED = {phrase: place for place, phrases in PLACES.items() for phrase in phrases}
_RELATION_NAMED = {phrase: relation for relation, phrases in RELATIONS.items() for phrase in phrases}
_ACTION_NAMED = {
    form.split()[-1]: action for action, verbs in VERBS.items() for verb in verbs for form in verb
}  # "is parked" -> parked
_NOUN, _COLOUR = re.compile(_any_of(_KINDS_NAMED)), re.compile(rf"{_any_of(_COLOURS)}\s*$")
_PLACE, _RELATION, _ACTION = (re.compile(_any_of(found)) for found in (_PLACE_NAMED, _RELATION_NAMED, _ACTION_NAMED))
_CLOTHES = re.compile(rf"\bin (?:an? )?{_any_of(_COLOURS)} (?:shirt|dress)(?:s|es)?\b")


def true_facts(scene: Scene) -> dict[str, str]:
    """What is so, by aspect; without the aspects of which there is nothing to say."""
    person = scene.subject in PEOPLE
    facts = {
        "subject": scene.subject,
        "number": str(scene.count),
        "colour": None if person else scene.colour,
        "clothes": scene.colour if person else None,
        "action": scene.action,
        "place": scene.place,
        "relation": scene.relation,
        "thing": scene.thing,
        "thing's colour": scene.thing_colour,
    }
    return {aspect: fact for aspect, fact in facts.items() if fact is not None}


def stated(caption: str) -> dict[str, frozenset[str]]:
    """What `caption` says, by aspect, each with all that its words can mean; what it does not say is left out.

    >>> said = stated("Two children in red shirts are sitting next to a blue ball on the sand .")
    >>> {aspect: sorted(meaning) for aspect, meaning in said.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'clothes': ['red'], 'place': ['beach'], 'subject': ['boy', 'girl'], 'number': ['2'], 'action': ['sitting'],
     'relation': ['next to'], 'thing': ['ball'], "thing's colour": ['blue']}
    """
    text = clean_caption(caption).replace("-", " ")
    said: dict[str, frozenset[str]] = {}

    def note(aspect: str, found: re.Match[str] | None, meanings: Mapping[str, str]) -> None:
        if found:
            said[aspect] = frozenset({meanings[found[1]]})

    # Clothes and places go first, and are taken out: "in" and "on" of what is left are relations.
    note("clothes", _CLOTHES.search(text), _COLOURS)
    text = _CLOTHES.sub("", text)
    note("place", _PLACE.search(text), _PLACE_NAMED)
    text = _PLACE.sub("", text)
    nouns = list(_NOUN.finditer(text))
    if nouns:
        before = text[: nouns[0].start()]
        number = {"two": "2", "three": "3"}
        said["subject"] = _KINDS_NAMED[nouns[0][1]]
        said["number"] = frozenset({next((number[word] for word in before.split() if word in number), "1")})
        note("colour", _COLOUR.search(before), _COLOURS)
    note("action", _ACTION.search(text), _ACTION_NAMED)
    if len(nouns) > 1:
        between = text[nouns[0].end() : nouns[1].start()]
        note("relation", _RELATION.search(between), _RELATION_NAMED)
        said["thing"] = _KINDS_NAMED[nouns[1][1]]
        note("thing's colour", _COLOUR.search(between), _COLOURS)
    return said


def checked(texts: Mapping[str, str], scenes: Mapping[str, Scene], *aspects: str) -> Checked:
    """Whether the captions `texts` by photo are right about `aspects`, where there is such a fact and they say one."""
    found: Checked = {}
    for photo, text in texts.items():
        said, facts = stated(text), true_facts(scenes[photo])
        found |= {(photo, one): facts[one] in said[one] for one in aspects if one in facts and one in said}
    return found


def guessed(scenes: Mapping[str, Scene], *aspects: str) -> Checked:
    """The same of someone who sees nothing and says of each photo what is so of most of these."""
    facts = {photo: true_facts(scene) for photo, scene in scenes.items()}
    found: Checked = {}
    for one in aspects:
        truth = {photo: known[one] for photo, known in facts.items() if one in known}
        for commonest, _ in Counter(truth.values()).most_common(1):  # none where nobody asks
            found |= {(photo, one): fact == commonest for photo, fact in truth.items()}
    return found


def paired(first: Checked, second: Checked) -> tuple[float, float, Interval]:
    """Percent right of `first` and of `second`, of those facts alone that both say, and how sure the difference is.

    The interval is that of first - second; the facts of a photo are drawn together. NaN where they share nothing.
    """
    both = [key for key in first if key in second]
    if not both:
        return float("nan"), float("nan"), (float("nan"), float("nan"))
    right = 100 * np.array([[first[key], second[key]] for key in both], float)  # (facts, 2)
    difference = mean_interval(right[:, 0] - right[:, 1], np.array([photo for photo, _ in both]))
    return float(right[:, 0].mean()), float(right[:, 1].mean()), difference


def fact_table(texts: Mapping[str, str], scenes: Mapping[str, Scene]) -> Facts:
    """Of the captions `texts` by photo: how often they say what, and how often that is so.

    Returns:
        By aspect, where any scene has it: `photos` that have it, `said` (percent of these whose caption says something
        of it), `right` (percent of what was said), and `commonest` (percent that would be right if every caption said
        the commonest truth: what guessing is worth).
    """
    table: Facts = {}
    shown = {photo: scenes[photo] for photo in texts}
    for aspect in ASPECTS:
        right, guess = (list(found.values()) for found in (checked(texts, shown, aspect), guessed(shown, aspect)))
        if not guess:
            continue
        table[aspect] = {
            "photos": len(guess),
            "said": 100 * len(right) / len(guess),
            "right": 100 * sum(right) / max(len(right), 1),
            "commonest": 100 * sum(guess) / len(guess),
        }
    return table


def print_facts(tables: Mapping[str, Facts]) -> None:
    """An aspect a line: what guessing the commonest is worth, then for each captioner how much is right of how much."""
    first = next(iter(tables.values()))
    print(f"{'':>15} {'photos':>7} {'commonest':>10}" + "".join(f"{name:>20}" for name in tables))
    for aspect, row in first.items():
        cells = (f"{table[aspect]['right']:.0f} % of {table[aspect]['said']:.0f} % said" for table in tables.values())
        shown = "".join(f"{cell:>20}" for cell in cells)
        print(f"{aspect:>15} {row['photos']:7.0f} {row['commonest']:8.0f} %" + shown)


def weakest(table: Facts) -> str:
    """The aspect that a captioner knows least of: where `right` closes the least of the gap from `commonest` to 100.

    In points its lead would be small wherever guessing is worth much.
    """

    def mistakes(row: Mapping[str, float]) -> float:
        """How many are left of each that guessing makes; where it makes none, any is one too many."""
        return (100 - row["right"]) / max(100 - row["commonest"], 1e-9)

    return max(table, key=lambda aspect: mistakes(table[aspect]))
