"""Class descriptions: the texts that a dual encoder learns a class of photos by.

A label alone says little; ten sentences about shape, fur, colour, posture and surroundings give the text tower
something to read (Menon and Vondrick, "Visual Classification via Description from Large Language Models", 2023).
`descriptions.json` beside this file holds hand-written ones for the ten classes of Animals-10, whose folders have
Italian names. Any other class gets templates ("a photo of a leopard"; Radford et al., 2021) until you describe it
in a file of your own.
"""

from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from pydantic import TypeAdapter, ValidationError

from helpers.data.left_out import Findings
from helpers.data.readers.plain_text import read_text
from helpers.files import InputError, beginning, read_json

ENGLISH = {
    "cane": "dog",
    "cavallo": "horse",
    "elefante": "elephant",
    "farfalla": "butterfly",
    "gallina": "chicken",
    "gatto": "cat",
    "mucca": "cow",
    "pecora": "sheep",
    "ragno": "spider",
    "scoiattolo": "squirrel",
}
TEMPLATES = (
    "{a} {name}",
    "a photo of {a} {name}",
    "a close-up photo of {a} {name}",
    "a picture of one {name} in its surroundings",
    "{a} {name} seen from the side",
    "the head of {a} {name}",
    "a small {name}",
    "a large {name}",
    "many of them, each {a} {name}",
    "this is what {a} {name} looks like",
)
_OWN_DESCRIPTIONS = TypeAdapter(dict[str, list[str]])
_OWN = Path(__file__).with_name("descriptions.json")


def english_name(label: str) -> str:
    """The name to show for a class: English for the folders of Animals-10, else the label in plain words.

    >>> english_name("cane"), english_name("snow_leopard")
    ('dog', 'snow leopard')
    """
    return ENGLISH.get(label, label.replace("_", " ").replace("-", " "))


def both_names(label: str) -> str:
    """A label, and its English name where that is another one.

    >>> both_names("cane"), both_names("butterfly")
    ('cane (dog)', 'butterfly')
    """
    return label if english_name(label) == label else f"{label} ({english_name(label)})"


def class_descriptions(labels: Iterable[str], file: Path | None = None) -> dict[str, list[str]]:
    """Descriptions of each label: the user's, else the hand-written, else templates (with a printed notice).

    Args:
        labels: class names, Italian as the folders of Animals-10 or English; upper and lower case are the same.
        file: your own descriptions: JSON `{"leopard": ["...", "..."]}`, or a text file with a line
            `leopard: a description` for each. A class in it replaces the hand-written descriptions of that class.

    Raises:
        InputError: `file` is missing, not as described, or has a class without descriptions.
    """
    known = read_json(_OWN) | (_read_own(file) if file else {})
    # Looked up by English name, so that a folder "dog" and a folder "cane" are described alike.
    known = {_key(label): texts for label, texts in known.items()}
    found = {label: known.get(_key(label)) or templates(label) for label in labels}
    templated = [label for label in found if _key(label) not in known]
    if templated:
        print(
            f"No descriptions of {', '.join(templated)}: using templates such as {templates(templated[0])[1]!r}. "
            "Sentences about what can be seen, in a descriptions file of your own, do better."
        )
    return found


def templates(label: str) -> list[str]:
    """Ten plain sentences that hold the label."""
    name = english_name(label)
    a = "an" if name[:1].lower() in "aeiou" else "a"
    return [template.format(name=name, a=a) for template in TEMPLATES]


def _key(label: str) -> str:
    return english_name(normalize("NFC", label.strip().lower()))  # é is one character, whoever named the folder


def _read_own(file: Path) -> dict[str, list[str]]:
    how = 'give JSON {"leopard": ["a description", ...]} or text lines "leopard: a description"'
    findings = Findings()
    text = read_text(file, findings, setting=None)
    print(*findings.sentences, sep="\n", end="\n" * bool(findings.sentences))
    own: dict[str, list[str]] = {}
    if file.suffix.lower() == ".json":
        try:
            own = _OWN_DESCRIPTIONS.validate_json(text, strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = "".join(f"{part}: " for part in problem["loc"][:1])
            raise InputError(f"The descriptions file {file} cannot be used ({where}{problem['msg']}); {how}.") from None
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            label, colon, description = line.partition(":")
            if not (colon and label.strip() and description.strip()):
                raise InputError(f"Line {number} of {file} is {beginning(line, 60)!r}; {how}.")
            own.setdefault(label.strip(), []).append(description.strip())
    for label, texts in own.items():
        if not texts or not all(text.strip() for text in texts):
            raise InputError(f"Class {label!r} in {file} has no descriptions, or empty ones; {how}.")
    return own
