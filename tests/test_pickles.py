"""The reader of pickles: what NumPy writes comes back, and whatever else a file holds is refused and not run.

The attacks are written by hand, instruction by instruction. Some end the process of a reader that falls for them, so
that the fuzz runs in a process of its own.
"""

import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers.environment import project_root
from helpers.files import InputError, load_pickle
from helpers.pickles import read

CODES = ["b1", "i1", "u1", "<i2", ">i2", "<i4", ">i8", "<u8", "<f2", "<f4", ">f4", "<f8", "<c8", "<c16"]


def again(value: object, protocol: int) -> object:
    return read(io.BytesIO(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_kind_come_back(protocol: int) -> None:
    for code in CODES:
        for shape in [(), (0,), (3,), (2, 3), (0, 5)]:
            for order in "CF":
                array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, code, order=order)
                for one in (array, array[::-1] if array.ndim else array):  # the second is no block of memory
                    back = again(one, protocol)
                    assert type(back) is np.ndarray and (back.dtype, back.shape) == (one.dtype, one.shape)
                    np.testing.assert_array_equal(back, one)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back_and_what_was_one_array_still_is(protocol: int) -> None:
    plain = {"n": [1, (2.5, "three", ()), None, True, False, -5, 2**70, b"bytes", {}], "犬": [[], [[]]]}
    assert again(plain, protocol) == plain
    scalar = again({"x": np.float32(0.1)}, protocol)["x"]
    assert scalar == np.float32(0.1) and scalar.dtype == np.float32
    array = np.arange(3.0)
    first, second, inner = again([array, array, {"k": array}], protocol)
    assert first is second is inner["k"]


# What NumPy 1 wrote, which had other names for its modules: float32 (2,) of 1 and 2 in the two forms there are.
RECONSTRUCTED = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02c_codecs\nencode\nq\x03"
    b"X\x01\x00\x00\x00bq\x04X\x06\x00\x00\x00latin1q\x05\x86q\x06Rq\x07\x87q\x08Rq\t(K\x01K\x02\x85q\ncnumpy\ndtype\n"
    b"q\x0bX\x02\x00\x00\x00f4q\x0c\x89\x88\x87q\rRq\x0e(K\x03X\x01\x00\x00\x00<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff"
    b"\xffK\x00tq\x10b\x89h\x03X\t\x00\x00\x00\x00\x00\xc2\x80?\x00\x00\x00@q\x11h\x05\x86q\x12Rq\x13tq\x14b."
)
FROM_BUFFER = (
    b"\x80\x05cnumpy.core.numeric\n_frombuffer\n(\x96\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@"
    b"cnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"K\x02\x85\x8c\x01CtR."
)


@pytest.mark.parametrize("content", [RECONSTRUCTED, FROM_BUFFER], ids=["_reconstruct", "_frombuffer"])
def test_arrays_of_numpy_1_are_read(content: bytes) -> None:
    back = read(io.BytesIO(content))
    assert back.dtype == np.float32 and back.tolist() == [1.0, 2.0]


# --- Attacks ---

POINTER = b"C\x08" + struct.pack("<Q", 0xDEADBEEF)  # eight bytes that are to become the address of an object
PLAIN_STATE = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
OBJECT_STATE = b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft"  # the flags of objects


def dtype(code: str, state: bytes = b"") -> bytes:
    """dtype(code, False, True), then what `state` does to it."""
    return b"cnumpy\ndtype\n(V" + code.encode() + b"\n\x89\x88tR" + state


def array_of(numbers: bytes, raw: bytes = POINTER, shape: bytes = b"K\x01\x85") -> bytes:
    """_reconstruct, then BUILD with a state of these parts."""
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return b"\x80\x04" + made + b"(K\x01" + shape + numbers + b"\x89" + raw + b"tb."


def buffer_of(numbers: bytes, raw: bytes = POINTER, shape: bytes = b"K\x01\x85") -> bytes:
    """_frombuffer of these parts."""
    return b"\x80\x05cnumpy.core.numeric\n_frombuffer\n(" + raw + numbers + shape + b"VC\ntR."


STRUCTURED = b"(K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00a\x85}X\x01\x00\x00\x00a" + dtype("O8") + b"K\x00\x86s"
STRUCTURED += b"K\x08K\x01K\x1bt"
BASE = b"\x80\x05cnumpy.core.numeric\n_frombuffer\n"
FLOATS = dtype("f4") + PLAIN_STATE + b"b"
BOMB = b"\x80\x04)" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60))  # tuples that hold each other

ATTACKS = {
    # Pointers from bytes.
    "ndarray called with objects": b"\x80\x04cnumpy\nndarray\n(K\x01\x85" + dtype("O8") + POINTER + b"tR.",
    "ndarray called as a class": b"\x80\x04cnumpy\nndarray\n(K\x01\x85" + dtype("O8") + POINTER + b"t\x81.",
    "ndarray called with floats": b"\x80\x04cnumpy\nndarray\n(K\x01\x85" + FLOATS + POINTER + b"tR.",
    "void turned into objects": array_of(dtype("V8", OBJECT_STATE + b"b")),
    "floats turned into objects": array_of(dtype("f8", OBJECT_STATE + b"b"), b"(lp0\n" + POINTER + b"a"),
    "objects in a buffer": buffer_of(dtype("O8")),
    "void in a buffer": buffer_of(dtype("V8", OBJECT_STATE + b"b")),
    "a dtype with fields": buffer_of(dtype("V8", STRUCTURED + b"b")),
    "fields by a list": b"\x80\x04cnumpy\ndtype\n(](X\x01\x00\x00\x00aX\x02\x00\x00\x00O8\x86e\x89\x88tR.",
    "names without fields": buffer_of(dtype("f8", b"(K\x03V|\nN)NK\x08K\x01K\x00tb")),
    "objects in a scalar": b"\x80\x04cnumpy.core.multiarray\nscalar\n" + dtype("O8") + POINTER + b"\x86R.",
    "objects in a state": array_of(dtype("O8"), b"](" + POINTER + b"e"),
    "a dtype that is not one": array_of(b"X\x02\x00\x00\x00O8"),
    "a dtype by its name alone": array_of(b"cnumpy\ndtype\n"),
    # Memory that another object still looks at.
    "an array over an array": BASE + b"(" + array_of(FLOATS, b"C\x04abcd")[2:-1] + FLOATS + b"K\x01\x85VC\ntR.",
    "an array built twice": array_of(FLOATS, b"C\x04abcd")[:-1] + b"(K\x01K\x01\x85" + FLOATS + b"\x89C\x04abcdtb.",
    "bytes that grow": b"\x80\x05\x96\x04\x00\x00\x00\x00\x00\x00\x00abcd(K\x01e.",
    # Shapes and sizes that lie.
    "more than the bytes hold": buffer_of(FLOATS, b"C\x04abcd", b"K\x02\x85"),
    "less than the bytes hold": buffer_of(FLOATS, b"C\x08abcdefgh"),
    "sizes that overflow": buffer_of(FLOATS, b"C\x04abcd", 2 * (b"\x8a\x09" + 8 * b"\0" + b"\x01") + b"\x86"),
    "sizes below zero": buffer_of(FLOATS, b"C\x04abcd", b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
    "a hundred dimensions": buffer_of(FLOATS, b"C\x04abcd", b"(" + 100 * b"K\x01" + b"t"),
    "a size that is true": buffer_of(FLOATS, b"C\x04abcd", b"\x88\x85"),
    "no bytes and a vast shape": buffer_of(FLOATS, b"C\0", b"K\0\x8a\x08" + 7 * b"\xff" + b"\x7f\x86"),
    "bytes without end": b"\x80\x05\x8e" + struct.pack("<Q", 2**60) + b"a.",
    "a byte array without end": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"a.",
    "a text without end": b"\x80\x05\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "four billion places": b"\x80\x02Nr\xff\xff\xff\x7f2.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a key of tuples without end": b"\x80\x04}" + BOMB[2:] + b"Ns.",
    "keys that may be chosen to collide": b"\x80\x04}\x8a\x08" + struct.pack("<q", 2**61 - 1) + b"Ns.",
    # Calls.
    "a command": b"cos\nsystem\n(Vexit 1\ntR.",
    "eval": b"cbuiltins\neval\n(V1+1\ntR.",
    "a name with a dot": b"\x80\x04\x8c\x05numpy\x8c\x0entypes.__dict__\x93.",
    "a function of NumPy that reads files": b"cnumpy\nload\n(V/etc/passwd\ntR.",
    "another encoding": b"c_codecs\nencode\n(V1\nVzip\ntR.",
    "a text that is called": b"\x80\x04\x8c\x05dtype(\x8c\x02f4tR.",
    "a class instantiated": b"(cnumpy\nndarray\nK\x01o.",
    "an instance": b"(K\x01inumpy\nndarray\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "copyreg": b"ccopyreg\n_reconstructor\n(cnumpy\nndarray\ncbuiltins\nobject\nNtR.",
    "add_extension": b"ccopyreg\nadd_extension\n(Vos\nVsystem\nK\x01tR.",
    "a persistent id": b"P1\n.",
    "a persistent id in binary": b"K\x01Q.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "the state of a dict": b"\x80\x04}}b.",
    "the state of a function": b"cnumpy.core.multiarray\n_reconstruct\n}(V__code__\nK\x01ub.",
    # Torn, or of pieces.
    "nothing": b"",
    "no end": b"\x80\x04}",
    "two values": b"K\x01K\x02.",
    "no value": b".",
    "a mark too few": b"\x80\x04t.",
    "takes what was taken": b"K\x01(1.",
    "below a mark": b"}K\x01(sK\x01t.",
    "a place that is empty": b"\x80\x04h\x07.",
    "an odd dict": b"(V1\nd.",
    "a name": b"cnumpy\nndarray\n.",
    "a dtype": b"\x80\x04" + FLOATS + b".",
    "an array without numbers": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R.",
    "a list of names": b"\x80\x04](cnumpy\nndarray\ne.",
    "a tuple of names in a dict": b"\x80\x04}V1\ncnumpy\nndarray\n\x85s.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_whatever_is_no_array_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "features.pkl").write_bytes(ATTACKS[name])
    with pytest.raises(InputError, match=r"features\.pkl cannot be used as a feature file: .*; delete it and make it"):
        load_pickle(tmp_path / "features.pkl")


def test_the_attacks_differ_from_arrays_in_what_they_are_meant_to() -> None:
    """The same pieces, put together without malice, are an array: so the attacks fail for their own reason."""
    assert read(io.BytesIO(array_of(FLOATS, b"C\x04\0\0\x80?"))).tolist() == [1.0]
    assert read(io.BytesIO(buffer_of(FLOATS, b"C\x04\0\0\x80?"))).tolist() == [1.0]


def test_a_pickle_that_runs_a_command_does_not_run_it(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable, tuple]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(InputError, match=r"it names posix\.system"):
        load_pickle(tmp_path / "evil.pkl")
    assert not (tmp_path / "ran").exists()


# --- Fuzz ---


def mutant(content: bytes, rng: np.random.Generator) -> bytes:
    """`content` with some of its instructions left out, repeated, moved, exchanged, or bytes of them changed."""
    places = [place for _, _, place in pickletools.genops(content)] + [len(content)]
    parts = [content[start:end] for start, end in pairwise(places)]
    for _ in range(rng.integers(1, 5)):
        one, other = rng.integers(len(parts), size=2)
        match rng.integers(5):
            case 0:
                parts[one : one + 1] = []
            case 1:
                parts.insert(one, parts[other])
            case 2:
                parts[one], parts[other] = parts[other], parts[one]
            case 3:
                opcode = pickletools.opcodes[rng.integers(len(pickletools.opcodes))]
                parts[one] = opcode.code.encode("latin1") + parts[one][1:]
            case 4 if parts[one]:
                changed = bytearray(parts[one])
                changed[rng.integers(len(changed))] = rng.integers(256)
                parts[one] = bytes(changed)
        parts = parts or [b"."]
    return b"".join(parts)


def plain(value: object, seen: set[int]) -> bool:
    """Whether there are only arrays of numbers and plain values in `value`."""
    if id(value) in seen:
        return True
    seen.add(id(value))
    match value:
        case np.ndarray() | np.generic():
            return value.dtype.kind in "biufc" and value.dtype.fields is None
        case dict():
            return all(type(key) is str and plain(one, seen) for key, one in value.items())
        case list() | tuple():
            return type(value) in (list, tuple) and all(plain(one, seen) for one in value)
    return type(value) in (str, bytes, bytearray, int, float, bool, type(None))


def readable(content: bytes) -> bool:
    """Whether `content` is a row of instructions, of whatever sense."""
    try:
        return bool(list(pickletools.genops(content)))
    except ValueError:
        return False


def fuzz(count: int) -> None:
    """Read `count` mutants, which must not end the process."""
    rng = np.random.default_rng(0)
    value = {"a": np.arange(3, dtype=np.float32), "b": np.zeros((2, 2), ">f8")[::-1], "c": [1, (2.0, np.int8(3))]}
    attacks = [attack for attack in ATTACKS.values() if len(attack) < 1000 and readable(attack)]
    seeds = attacks + 5 * [pickle.dumps(value, protocol) for protocol in range(6)]
    read_whole = 0
    for number in range(count):
        try:
            result = read(io.BytesIO(mutant(seeds[number % len(seeds)], rng)))
        except (pickle.UnpicklingError, ValueError, LookupError, TypeError, OverflowError, MemoryError):
            continue
        assert plain(result, set()), repr(result)
        read_whole += 1
    print(f"{count} inputs, {read_whole} of them read")


def test_thousands_of_mutants_give_arrays_or_are_refused() -> None:
    code = "import sys; sys.path[:0] = ['tests', '.']; import test_pickles; test_pickles.fuzz(6000)"
    run = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    count, read_whole = (int(word) for word in run.stdout.split() if word.isdigit())
    assert count == 6000 and 100 < read_whole < count  # both ways are walked
