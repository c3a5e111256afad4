"""Pickles of NumPy arrays and plain containers, read without running anything that the file names.

A pickle is a program for a small stack machine, and two of its instructions, "look this name up" and "call it", make
it run whatever its author wished. Even a list of harmless names is not enough: `numpy.ndarray` called with a dtype of
objects turns bytes of the file into pointers. So this machine knows the instructions that arrays need and no other,
looks nothing up, and makes every array itself, from a closed list of number types and a shape that fits the bytes.

What NumPy writes, protocols 0 to 5, versions 1 and 2:

    dtype("f4", False, True), then its state (3, "<", None, ...)            the type of the numbers
    _reconstruct(ndarray, (0,), b"b"), then (1, shape, dtype, order, bytes)  an array
    _frombuffer(bytes, dtype, shape, "C")                                   an array, since protocol 5
    scalar(dtype, bytes)                                                    a single number

The instructions are taken apart by `pickletools` of the standard library, whose documentation explains them.
"""

import pickletools
from math import prod
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np

_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_DIMENSIONS = 32  # of an array at most

# The names that NumPy's own pickles hold -> what is meant. Which module they are in depends on NumPy's version.
_NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "_reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "_reconstruct",
    ("numpy.core.numeric", "_frombuffer"): "_frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "_frombuffer",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("_codecs", "encode"): "encode",  # bytes, before protocol 3
    ("__builtin__", "bytes"): "bytes",
}


class _Name(str):
    """A name that a call may follow."""


class _Numbers:
    """The type of an array's numbers; its byte order comes in a second step."""

    def __init__(self, code: Any) -> None:
        if code not in _NUMBERS:
            raise UnpicklingError(f"it holds numbers of type {code!r:.40}")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        _, order, *fields = state[:5]
        if order not in ("<", ">", "|", "=") or fields != [None, None, None]:
            raise UnpicklingError("it holds numbers of a type of its own making")
        self.dtype = self.dtype.newbyteorder(order)


class _Unfilled:
    """An array before its second step, in which the numbers come."""

    array: np.ndarray | None = None

    def build(self, state: Any) -> None:
        _, shape, numbers, fortran, raw = state
        self.array = _array(raw, numbers, shape, "F" if fortran else "C")


class _Arguments(tuple):
    """A tuple that holds what only a call may take."""


_PARTS = (_Name, _Numbers, _Unfilled, _Arguments)  # what arrays are made of on the way, and no result may hold


def _array(raw: Any, numbers: Any, shape: Any, order: str) -> np.ndarray:
    """`raw` seen as an array; nothing is copied, so that a small file cannot ask for much memory."""
    sizes = isinstance(shape, tuple) and len(shape) <= _DIMENSIONS and all(type(size) is int for size in shape)
    if not sizes or not isinstance(numbers, _Numbers) or not isinstance(raw, bytes | bytearray):
        raise UnpicklingError("it holds something else than an array of numbers")
    if min(shape, default=0) < 0 or prod(shape) * numbers.dtype.itemsize != len(raw):
        raise UnpicklingError(f"it has {len(raw):,} bytes for an array of another size")
    return np.frombuffer(raw, numbers.dtype).reshape(shape, order=order)


def _call(name: Any, arguments: Any) -> Any:
    """What NumPy's function `name`, of those in `_NAMES`, would make of `arguments`."""
    if not isinstance(name, _Name):
        raise UnpicklingError("it calls something that is no function of NumPy")
    match str(name), arguments:
        case "dtype", (str(code), *_):
            return _Numbers(code)
        case "_reconstruct", (_Name("ndarray"), *_):
            return _Unfilled()
        case "_frombuffer", (raw, numbers, shape, ("C" | "F") as order):
            return _array(raw, numbers, shape, order)
        case "scalar", (numbers, raw):
            return _array(raw, numbers, (1,), "C")[0]
        case "encode", (str(text), "latin1"):
            return text.encode("latin1")
        case "bytes", ():
            return b""
    raise UnpicklingError("it calls something that makes no array")


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in _NAMES:
        raise UnpicklingError(f"it names {module!s:.60}.{name!s:.60}")
    return _Name(_NAMES[module, name])


def read(file: BinaryIO) -> Any:
    """The dicts (with texts as keys), lists, tuples, texts, numbers and arrays in `file`.

    Raises:
        pickle.UnpicklingError: it holds or does anything else.
        ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError: it is torn.
    """
    stack: list[Any] = []
    marks: list[int] = []  # heights of the stack
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        if start > len(stack):
            raise UnpicklingError("it takes more from the stack than it has put there")
        taken = stack[start:]
        del stack[start:]
        return taken

    def last(count: int) -> list[Any]:
        return [stack.pop() for _ in range(count)][::-1]

    def as_tuple(values: list[Any]) -> tuple:
        return _Arguments(values) if any(isinstance(value, _PARTS) for value in values) else tuple(values)

    def whole(values: list[Any]) -> list[Any]:
        if any(isinstance(value, _PARTS) for value in values):
            raise UnpicklingError("it has an array without numbers")
        return values

    def extend(values: list[Any]) -> None:
        if type(stack[-1]) is not list:
            raise UnpicklingError("it appends to something else than a list")
        stack[-1].extend(whole(values))

    def update(taken: list[Any]) -> None:
        keys, values = taken[::2], whole(taken[1::2])
        # Texts alone: tuples that hold each other, or numbers chosen for it, can make a dict of a few entries endless.
        if type(stack[-1]) is not dict or not all(type(key) is str for key in keys):
            raise UnpicklingError("it has a dict with other keys than texts")
        stack[-1].update(zip(keys, values, strict=True))

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            # What is needed again.
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                kept = memo[argument]
                stack.append(kept if not isinstance(kept, _Unfilled) or kept.array is None else kept.array)
            # Plain values.
            case "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8" | "UNICODE":
                stack.append(argument)
            case "BYTEARRAY8" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "BININT" | "BININT1" | "BININT2" | "INT" | "LONG1" | "LONG4" | "LONG" | "BINFLOAT" | "FLOAT":
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "NONE":
                stack.append(None)
            # Containers.
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(as_tuple(last(int(opcode.name[-1]))))
            case "TUPLE":
                stack.append(as_tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(whole(since_mark()))
            case "APPEND":
                extend(last(1))
            case "APPENDS":
                extend(since_mark())
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                taken = since_mark()
                stack.append({})
                update(taken)
            case "SETITEM":
                update(last(2))
            case "SETITEMS":
                update(since_mark())
            # Arrays.
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_name(*last(2)))
            case "REDUCE":
                stack.append(_call(*last(2)))
            case "BUILD":
                thing, state = last(2)
                if not isinstance(thing, _Numbers | _Unfilled) or not isinstance(state, tuple):
                    raise UnpicklingError("it changes something else than an array")
                thing.build(state)
                stack.append(thing.array if isinstance(thing, _Unfilled) else thing)
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:
                raise UnpicklingError(f"it has the instruction {opcode.name}, which no array needs")
    (value,) = whole(stack)
    return value
