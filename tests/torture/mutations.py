"""Odd inputs for the fuzzer: damaged bytes, JSON of another shape, pickles with other instructions, any text."""

import io
import json
import pickletools
import zipfile
from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any

TOKENS = [
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b'"',
        b'""',
        b",",
        b"\n",
        b"\r",
        b"[" * 2000,
        b"{",
        b"}",
        b"null",
        b"NaN",
    ),
    *(
        b"-1",
        b"1e999",
        b"9" * 400,
        b"../../etc/passwd",
        b"image,caption\n",
        b"a.jpg,",
        b"\xf0\x9f\x90\x95",
        b"%s%n",
        b"0",
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2**31,
        2**63,
        -(2**63),
        10**30,
        1e308,
        float("nan"),
        float("inf"),
        0.5,
        "",
        "a",
        " ",
    ),
    *(
        "1",
        "../..",
        "a.jpg",
        "\0",
        "\ud83d",
        "x" * 5000,
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        {"": {}},
        [1, "a"],
        [[[[[[[]]]]]]],
    ),
]
TEXTS = [
    *(
        "",
        " ",
        "a dog",
        "two dogs in the snow",
        "犬が走る",
        "كلب في الثلج",
        "🐕‍🦺" * 9,
        "<script>alert(1)</script>",
        "\0",
        "\x1b[31m",
    ),
    *(
        "\u202e desrever",
        "a" * 100_000,
        "dog " * 25_000,
        "&amp; <b>",
        "'; DROP TABLE",
        "\ud800",
        "\n" * 50,
        "ß" * 300,
        "1" * 999,
    ),
]


def damage(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """`content` with one to four bytes or stretches changed, lost, doubled or put in from elsewhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        size = len(changed)
        place = random.randrange(size + 1)
        length = min(random.choice((1, 2, 4, 16, 256, 4096)), size - place)
        kind = random.randrange(8)
        if kind == 0 and size:
            changed[place % size] ^= 1 << random.randrange(8)
        elif kind == 1 and size:
            changed[place % size] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        elif kind == 4:
            changed[place:place] = random.choice(TOKENS)
        elif kind == 5:
            number = random.choice((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, random.getrandbits(32)))
            changed[place : place + 4] = number.to_bytes(4, random.choice(("little", "big")))
        elif kind == 6 and random.random() < 0.4:
            del changed[place:]
        elif others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            changed[place : place + length] = other[start : start + length]
    return bytes(changed)


def odd_json(content: bytes, random: Random) -> bytes:
    """JSON in which a value or a name is another one, is missing or doubled; sometimes its bytes are damaged, too."""
    whole = [json.loads(content)]
    for _ in range(random.choice((1, 1, 2, 3))):
        place: Any = whole
        key: Any = 0
        while isinstance(place[key], list | dict) and place[key] and random.random() < 0.85:
            place = place[key]
            key = random.choice(list(place)) if isinstance(place, dict) else random.randrange(len(place))
        kind = random.randrange(5)
        if kind == 0 and place is not whole:
            del place[key]
            if not place:
                break
        elif kind == 1 and isinstance(place, dict):
            place[random.choice(("", "id", "path", key + "x"))] = place.pop(key)
        elif kind == 2 and isinstance(place[key], int | float) and not isinstance(place[key], bool):
            place[key] = random.choice(
                (-place[key], place[key] * 10**6, place[key] + 1, float(place[key]), str(place[key]))
            )
        else:
            place[key] = deepcopy(random.choice(VALUES))
    text = json.dumps(whole[0] if whole else None).encode()
    return damage(text, random) if random.random() < 0.15 else text


def odd_pickle(content: bytes, random: Random) -> bytes:
    """A pickle some of whose instructions are lost, doubled, put elsewhere or others."""
    places = [place for _, _, place in pickletools.genops(content)]
    parts = [content[start:end] for start, end in zip(places, [*places[1:], len(content)], strict=True)]
    for _ in range(random.choice((1, 1, 2, 4))):
        place, kind = random.randrange(len(parts)), random.randrange(5)
        if kind == 0 and len(parts) > 1:
            del parts[place]
        elif kind == 1:
            parts.insert(place, random.choice(parts))
        elif kind == 2:
            other = random.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        elif kind == 3:
            parts[place] = damage(parts[place], random)
        else:
            names = (b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cbuiltins\neval\n", b"cnumpy\ndtype\n")
            codes = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
            parts.insert(place, random.choice((*names, random.choice(codes), b"(K\x01\x85R", b"\x96" + b"\xff" * 8)))
    return b"".join(parts)


def odd_archive(content: bytes, random: Random) -> bytes:
    """An archive of weights as PyTorch writes it: its bytes damaged, or the pickle in it another one."""
    if random.random() < 0.5:
        return damage(content, random)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, odd_pickle(part, random) if name.endswith("data.pkl") else part)
    return changed.getvalue()


def odd_text(random: Random) -> str:
    """A text that somebody might type or paste, or a few of them joined and damaged."""
    text = "".join(random.choice(TEXTS) for _ in range(random.choice((1, 1, 2, 3))))
    if random.random() < 0.5:
        letters = [
            chr(random.choice((random.randrange(128), random.randrange(0x3000), random.randrange(0x110000))))
            for _ in range(9)
        ]
        place = random.randrange(len(text) + 1)
        text = text[:place] + "".join(letters) + text[place:]
    return text
