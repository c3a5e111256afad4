"""What a sample scene shows, and five ways to say it.

`choose_scene` decides the content of a picture: who, how many, which colour, what they do, where, and beside
what. `write_captions` is a small grammar that describes it in five different sentences, as five people would:
they choose other sentence shapes and other words, and leave out other details. Everything a caption says is
visible in the picture, because the drawing is made from the same `Scene`.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Scene:
    """The content of one picture; `None` means that there is nothing to say about it."""

    subject: str
    count: int
    colour: str | None  # of the animal or thing; of the clothes of a person
    size: str | None  # small or big
    action: str
    place: str
    relation: str | None = None
    thing: str | None = None  # what the relation points at
    thing_colour: str | None = None


@dataclass(frozen=True)
class Kind:
    """What can be the subject of a scene: its names (the usual one first), colours, actions and build."""

    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    actions: tuple[str, ...]
    build: str  # small, large, flyer, crawler, person or thing: decides what it can stand on or under


def _kind(nouns: str, colours: str, actions: str, build: str) -> Kind:
    return Kind(*(tuple(words.split()) for words in (nouns, colours, actions)), build)


ANIMALS = {
    "dog": _kind("dog puppy", "brown black white golden", "standing running jumping sitting lying", "small"),
    "cat": _kind("cat kitten", "orange black white grey", "standing running jumping sitting lying", "small"),
    "horse": _kind("horse pony", "brown black white", "standing running jumping grazing", "large"),
    "elephant": _kind("elephant", "grey", "standing running sitting", "large"),
    "cow": _kind("cow", "black-and-white brown", "standing lying grazing", "large"),
    "sheep": _kind("sheep", "white black", "standing running lying grazing", "large"),
    "chicken": _kind("chicken hen", "white brown black", "standing running sitting", "small"),
    "squirrel": _kind("squirrel", "brown grey orange", "sitting running jumping", "small"),
    "spider": _kind("spider", "black brown", "crawling hanging", "crawler"),
    "butterfly": _kind("butterfly", "blue yellow orange purple", "flying flying sitting", "flyer"),
}
PEOPLE = {
    "man": _kind("man guy", "red blue yellow green", "standing running jumping sitting", "person"),
    "woman": _kind("woman lady", "red blue yellow green", "standing running jumping sitting", "person"),
    "boy": _kind("boy child", "red blue yellow green", "standing running jumping sitting", "person"),
    "girl": _kind("girl child", "red blue yellow green", "standing running jumping sitting", "person"),
}
THINGS = {
    "car": _kind("car", "red blue yellow green", "parked", "thing"),
    "bicycle": _kind("bicycle bike", "red blue yellow green", "parked", "thing"),
    "boat": _kind("boat sailboat", "red blue yellow green", "sailing", "thing"),
    "ball": _kind("ball", "red blue yellow green", "", "thing"),
    "umbrella": _kind("umbrella", "red blue yellow green", "", "thing"),
    "flower": _kind("flower", "red yellow", "", "thing"),
    "bench": _kind("bench", "", "", "thing"),
    "table": _kind("table", "", "", "thing"),
    "tree": _kind("tree", "", "", "thing"),
    "house": _kind("house", "", "", "thing"),
}
KINDS = ANIMALS | PEOPLE | THINGS

# How likely each is as the subject; an animal stands for a little over one scene in twenty.
_SUBJECTS = dict.fromkeys(ANIMALS, 6) | dict.fromkeys(PEOPLE, 7) | {"car": 4, "bicycle": 3, "boat": 4}

PLACES = {
    "grass": ("on the grass", "in a field"),
    "beach": ("on the beach", "on the sand"),
    "snow": ("in the snow", "on the snow"),
    "street": ("on the street", "on the road"),
    "room": ("in a room", "in the living room"),
    "forest": ("in the forest", "in the woods"),
    "mountains": ("in the mountains", "near the mountains"),
    "sea": ("on the sea", "on the ocean"),
}
_LAND = ("grass", "beach", "snow", "street", "forest", "mountains")

RELATIONS = {
    "next to": ("next to", "beside", "near"),
    "in front of": ("in front of",),
    "under": ("under", "beneath"),
    "above": ("above", "over"),
    "on": ("on",),
    "in": ("in",),
}
VERBS = {  # participle, singular, plural
    "standing": (("standing", "stands", "stand"),),
    "running": (("running", "runs", "run"), ("dashing", "dashes", "dash")),
    "jumping": (("jumping", "jumps", "jump"), ("leaping", "leaps", "leap")),
    "sitting": (("sitting", "sits", "sit"),),
    "lying": (("lying", "lies", "lie"), ("resting", "rests", "rest")),
    "grazing": (("grazing", "grazes", "graze"), ("feeding", "feeds", "feed")),
    "flying": (("flying", "flies", "fly"), ("fluttering", "flutters", "flutter")),
    "crawling": (("crawling", "crawls", "crawl"), ("creeping", "creeps", "creep")),
    "hanging": (("hanging", "hangs", "hang"),),
    "riding": (("riding", "rides", "ride"),),
    "parked": (("parked", "is parked", "are parked"),),
    "sailing": (("sailing", "sails", "sail"), ("floating", "floats", "float")),
}
_SIZES = {"small": ("small", "little"), "big": ("big", "large")}
_IRREGULAR = {"man": "men", "woman": "women", "child": "children", "sheep": "sheep"}
_WEAR = {"man": "shirt", "boy": "shirt", "woman": "dress", "girl": "dress"}


def _companions(subject: str, action: str, place: str, count: int) -> list[tuple[str, str]]:
    """The (relation, thing) pairs that make sense, and can be drawn, for this subject doing this there."""
    build = KINDS[subject].build
    outdoors = place in _LAND
    if build == "flyer":
        if action == "sitting":
            return [("on", "flower")]
        return [("above", "flower"), ("above", "bench"), ("next to", "tree")] if outdoors else [("above", "table")]
    if build == "crawler":
        return [("next to", "ball"), ("next to", "flower")] if outdoors and action == "crawling" else []
    if count == 3:  # in small company, three remain large enough to be seen well
        large = [("next to", "tree"), ("under", "tree"), ("in front of", "house")]
        return [("next to", "ball"), *(large if outdoors else [])]
    pairs = [("next to", "ball")] if outdoors else [("next to", "ball"), ("next to", "table")]
    if outdoors:
        pairs += [("next to", "tree"), ("next to", "bench"), ("next to", "bicycle"), ("under", "tree")]
        if place != "forest":
            pairs += [("next to", "car"), ("in front of", "car"), ("in front of", "house")]
    if place == "beach":
        pairs.append(("next to", "boat"))
    still = action in ("standing", "sitting", "lying")
    if count == 1 and still:
        if build == "person":
            pairs += [("next to", "dog"), ("next to", "horse"), ("next to", "cat")]
        if build == "small" or (build == "person" and action == "sitting"):
            pairs += [("on", "bench"), ("on", "bench")] if outdoors else [("on", "table")]
        if build == "small":
            pairs += (
                [("under", "umbrella"), ("under", "umbrella")] if outdoors else [("under", "table"), ("under", "table")]
            )
        if build == "person" and action == "standing" and outdoors:
            pairs += [("under", "umbrella"), ("under", "umbrella")]
        if subject in ("dog", "elephant") and action == "standing":
            pairs.append(("on", "ball"))
    return pairs


def _places(subject: str, action: str, count: int) -> tuple[str, ...]:
    """Where this can happen, some places more than once."""
    build = KINDS[subject].build
    special = {
        "grazing": ("grass", "grass", "mountains"),
        "hanging": ("forest", "mountains", "snow", "room"),
        "sailing": ("sea",),
        "parked": ("street", "street", "grass", "snow", "beach", "mountains"),
        "flying": (*_LAND, "room", "sea"),
    }
    if action in special:
        return special[action]
    if subject in ("cow", "horse") or (subject, action) == ("butterfly", "sitting"):
        return _LAND
    boards = count == 1 and action in ("standing", "sitting") and build in ("small", "large", "person")
    return (*_LAND, "room", "sea") if boards else (*_LAND, "room")


def choose_scene(rng: Random) -> Scene:
    """Content for one captioned picture."""
    subject = rng.choices(list(_SUBJECTS), list(_SUBJECTS.values()))[0]
    kind = KINDS[subject]
    action = rng.choice(kind.actions)
    on_flower = (subject, action) == ("butterfly", "sitting")
    count = 1 if on_flower else rng.choices((1, 2, 3), (66, 22, 12))[0]
    place = rng.choice(_places(subject, action, count))
    size = rng.choices((None, "small", "big"), (70, 15, 15))[0] if count == 1 and kind.build != "person" else None
    colour = rng.choice(kind.colours)

    relation = thing = thing_colour = None
    if place == "sea" and kind.build != "thing":
        relation, thing = ("above" if kind.build == "flyer" else "in"), "boat"
    elif kind.build == "person" and count == 1 and place in _LAND and rng.random() < 0.15:
        action, relation, thing = "riding", "on", rng.choice(("bicycle", "horse"))
    elif kind.build != "thing" and (on_flower or rng.random() < 0.72):
        pairs = _companions(subject, action, place, count)
        relation, thing = rng.choice(pairs) if pairs else (None, None)
    if thing is not None and KINDS[thing].colours:
        thing_colour = rng.choice(KINDS[thing].colours)
    return Scene(subject, count, colour, size, action, place, relation, thing, thing_colour)


def choose_portrait(subject: str, rng: Random) -> Scene:
    """Content for a picture of one animal, or one thing that can be a subject on land, and nothing else."""
    kind = KINDS[subject]
    action = rng.choice([action for action in kind.actions if (subject, action) != ("butterfly", "sitting")])
    place = rng.choice([place for place in _places(subject, action, 1) if place != "sea"])
    return Scene(subject, 1, rng.choice(kind.colours), rng.choice((None, "small", "big")), action, place)


def plural(noun: str) -> str:
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "es" if noun.endswith(("s", "ch")) else noun + "s"


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


class _Writer:
    """Writes sentences about one scene."""

    def __init__(self, scene: Scene, rng: Random):
        self.scene, self.rng = scene, rng

    def word(self, options: tuple) -> str:
        """The usual word three times in four."""
        if len(options) == 1 or self.rng.random() < 0.75:
            return options[0]
        return self.rng.choice(options[1:])

    def name(self, kind: str, count: int, colour: str | None, size: str | None = None) -> str:
        """A noun phrase: "two brown dogs", "an orange cat", "a man in a red shirt"."""
        noun = self.word(KINDS[kind].nouns)
        wear = _WEAR.get(kind) if colour else None
        adjectives = [self.word(_SIZES[size])] if size else []
        if colour and not wear:
            adjectives.append(colour.replace("-", " "))
        if count == 1:
            phrase = _with_article(" ".join([*adjectives, noun]))
            return f"{phrase} in {_with_article(f'{colour} {wear}')}" if wear else phrase
        phrase = " ".join([("two", "three")[count - 2], *adjectives, plural(noun)])
        return f"{phrase} in {colour} {plural(wear)}" if wear else phrase

    def sentence(self, shape: str, colour: bool, size: bool, where: bool, thing: bool, thing_colour: bool) -> str:
        """One sentence of the given shape that tells the details marked True."""
        scene = self.scene
        name = self.name(scene.subject, scene.count, scene.colour if colour else None, scene.size if size else None)
        doing, does, do = self.word(VERBS[scene.action])
        several = scene.count > 1
        be, finite = ("are", do) if several else ("is", does)
        if scene.action == "hanging":
            doing, finite = (f"{verb} from {'threads' if several else 'a thread'}" for verb in (doing, finite))
        beside = relation = ""
        if scene.thing and thing:
            beside = self.name(scene.thing, 1, scene.thing_colour if thing_colour else None)
            relation = f"{self.word(RELATIONS[scene.relation])} {beside}"
        if scene.action != "riding":
            beside = relation
        where_phrase = self.word(PLACES[scene.place]) if where else ""
        parts = {
            "active": (name, be, doing, beside, where_phrase),
            "simple": (name, finite, beside, where_phrase),
            "participle": (name, doing, beside, where_phrase),
            "there": ("there", be, name, doing, beside, where_phrase),
            "verbless": (name, relation, where_phrase),
            "place first": (f"{where_phrase},", name, be, doing, beside),
            "aside": (name, f"{where_phrase},", doing, beside),
        }[shape]
        text = " ".join(part for part in parts if part)
        return text[0].upper() + text[1:]


def write_captions(scene: Scene, rng: Random) -> list[str]:
    """Five different sentences about `scene`, of five to about sixteen words.

    One of them is always in the plain active shape with nearly everything said. Some have commas.
    """
    writer = _Writer(scene, rng)
    shapes = ["active", *rng.sample(("active", "simple", "participle", "there", "verbless", "comma"), 4)]
    captions: list[str] = []
    while len(captions) < 5:
        shape = shapes[len(captions)]
        full = not captions
        if shape == "comma":
            shape = "aside" if scene.thing and rng.random() < 0.3 else "place first"
        # Without its bench or boat, "a dog is sitting on the grass" or "on the sea" would not be true.
        carried = scene.relation in ("on", "in") or scene.place == "sea"
        tell_thing = full or carried or shape in ("aside", "verbless") or rng.random() < 0.8
        tell_where = shape in ("aside", "place first") or not (scene.thing and tell_thing) or rng.random() < 0.8
        text = writer.sentence(
            shape,
            colour=rng.random() < (0.95 if full else 0.75),
            size=rng.random() < 0.6,
            where=tell_where,
            thing=tell_thing,
            thing_colour=rng.random() < (0.9 if full else 0.7),
        )
        if text in captions or not 4 <= len(text.split()) <= 17:
            continue
        captions.append(text)
    rng.shuffle(captions)
    # A few writers forget the full stop, as in the photo sets.
    return [text + (" ." if rng.random() < 0.92 else "") for text in captions]
