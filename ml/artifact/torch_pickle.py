"""The pickle inside a torch checkpoint, taken apart by an interpreter that can run nothing.

A pickle is a program, and Python's own unpickler looks up and calls what it names. This one knows
the instructions that plain values, dicts and tensors need, and the names in `torch_names`, each of
which stands for a function there; all else is refused, and no name is looked up anywhere else.
Source: Python's ``pickletools.py``, and ``torch/_weights_only_unpickler.py`` of torch 2.13.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from .errors import quoted
from .torch_names import NAMES, PickleError, Storage, StorageType, size

MAX_INSTRUCTIONS: Final = 10_000_000
"""Each takes at most some 100 bytes of memory; a tensor takes about 25."""


class ForbiddenError(ValueError):
    """The pickle asks for what is not in the tables; the message says for what."""


class Contents(NamedTuple):
    """What a pickle holds, and the storages that it refers to."""

    root: object
    storages: list[Storage]


def load(data: bytes) -> Contents:
    """Return what a pickle holds, tensors as `StoredTensor`.

    Raises:
        PickleError: it is damaged, or too long.
        ForbiddenError: it asks for something that no state dict needs.
    """
    machine = _Machine(data)
    try:
        return Contents(machine.run(), list(machine.storages.values()))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise PickleError(f"its pickle is damaged at byte {machine.position}") from None


class _Machine:
    """A pickle being read: its stack, its memo, and where in it we are."""

    def __init__(self, data: bytes) -> None:
        self.data: Final = data
        self.position = 0
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[Storage, Storage] = {}

    def run(self) -> object:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)[0]
            if code == _STOP:
                break
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise ForbiddenError(f"the instruction {code:#04x}")
            instruction(self)
        else:
            raise PickleError(f"its pickle has more than {MAX_INSTRUCTIONS} instructions")
        if len(self.stack) != 1 or self.marks or self.position != len(self.data):
            raise PickleError("its pickle leaves something over")
        return self.stack[0]

    def take(self, count: int) -> bytes:
        """The next bytes of the pickle."""
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise IndexError
        return self.data[start : self.position]

    def line(self) -> str:
        """The next line of the pickle."""
        stop = self.data.find(b"\n", self.position)
        if stop < 0:
            raise IndexError
        text = self.data[self.position : stop].decode()
        self.position = stop + 1
        return text

    def number(self, form: struct.Struct) -> int:
        """The next number of the pickle."""
        (number,) = form.unpack(self.take(form.size))
        return cast(int, number)

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        """Take what is on top of the stack, which must not be below the last mark."""
        self.peek()
        return self.stack.pop()

    def pop_to_mark(self) -> list[object]:
        """Take what was pushed since the last mark, and the mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def peek(self) -> object:
        """What is on top of the stack."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise IndexError
        return self.stack[-1]

    def top(self, kind: type) -> object:
        """What is on top of the stack, which must be of this very kind."""
        value = self.peek()
        if type(value) is not kind:
            raise PickleError(
                f"its pickle adds to a {type(value).__name__} as to a {kind.__name__}"
            )
        return value


# Instructions, by their names in pickletools.

_U8, _U16, _U32, _U64 = (struct.Struct(form) for form in ("<B", "<H", "<L", "<Q"))
_I32, _F64 = struct.Struct("<l"), struct.Struct(">d")
_STOP: Final = ord(".")
_HIGHEST_PROTOCOL: Final = 5
_LONGEST_KEY: Final = 8
_KEYS: Final = str | bytes | int | float | None


def _proto(machine: _Machine) -> None:
    if machine.number(_U8) > _HIGHEST_PROTOCOL:
        raise PickleError("its pickle is of a protocol that is not known yet")


def _constant(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


def _empty(kind: type) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(kind())


def _integer(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.number(form))


def _long(machine: _Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number(_U8)), "little", signed=True))


def _text(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.take(machine.number(form)).decode())


def _bytes(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.take(machine.number(form)))


def _tuple(count: int) -> Callable[[_Machine], None]:
    def run(machine: _Machine) -> None:
        values = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(values)))

    return run


def _append(machine: _Machine) -> None:
    value = machine.pop()
    cast(list[object], machine.top(list)).append(value)


def _appends(machine: _Machine) -> None:
    values = machine.pop_to_mark()
    cast(list[object], machine.top(list)).extend(values)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _add(machine, [key, value])


def _set_items(machine: _Machine) -> None:
    _add(machine, machine.pop_to_mark())


def _add(machine: _Machine, items: list[object]) -> None:
    target = cast(dict[object, object], machine.top(dict))
    if len(items) % 2:
        raise PickleError("its pickle has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        parts = key if type(key) is tuple else (key,)
        # Hashing anything deeper, or longer and named often, could take for ever.
        if len(parts) > _LONGEST_KEY or not all(isinstance(part, _KEYS) for part in parts):
            raise PickleError(f"its pickle has a {type(key).__name__} as a key")
        if key in target:
            raise PickleError("its pickle has a key twice")
        target[key] = value


def _put(form: struct.Struct) -> Callable[[_Machine], None]:
    def run(machine: _Machine) -> None:
        machine.memo[machine.number(form)] = machine.peek()

    return run


def _get(form: struct.Struct) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.memo[machine.number(form)])


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.peek()


def _global(machine: _Machine) -> None:
    module = machine.line()
    machine.push(_named(module, machine.line()))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise PickleError("its pickle asks for something without a name")
    machine.push(_named(module, name))


def _named(module: str, name: str) -> object:
    found = NAMES.get((module, name))
    if found is None:
        raise ForbiddenError(quoted(f"{module}.{name}"))
    return found


def _reduce(machine: _Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    if type(arguments) is not tuple or not callable(function):
        raise PickleError("its pickle calls something that is no function")
    machine.push(function(arguments))


def _build(machine: _Machine) -> None:
    """Attributes of a dict, as a module's state dict has: they say nothing about weights."""
    state = machine.pop()
    machine.top(dict)
    if type(state) is not dict:
        raise PickleError("its pickle changes an object in a way that no state dict is changed")


def _persistent(machine: _Machine) -> None:
    parts = machine.pop()
    if type(parts) is not tuple or len(parts) != 5:
        raise PickleError("its pickle refers to something that is no storage")
    what, kind, key, _, elements = parts
    if what != "storage" or not isinstance(kind, StorageType) or type(key) is not str:
        raise PickleError("its pickle refers to something that is no storage")
    storage = Storage(key, kind.dtype, size(elements))
    machine.push(machine.storages.setdefault(storage, storage))


_INSTRUCTIONS: Final[dict[int, Callable[[_Machine], None]]] = {
    code[0]: instruction
    for code, instruction in {
        b"\x80": _proto,
        b"\x95": lambda machine: machine.number(_U64),  # FRAME: how the bytes were cut, no matter
        b"N": _constant(None),
        b"\x88": _constant(True),
        b"\x89": _constant(False),
        b")": _constant(()),
        b"]": _empty(list),
        b"}": _empty(dict),
        b"\x8f": _empty(list),  # a set, as the list of what is in it
        b"(": lambda machine: machine.marks.append(len(machine.stack)),
        b"K": _integer(_U8),
        b"M": _integer(_U16),
        b"J": _integer(_I32),
        b"G": lambda machine: machine.push(_F64.unpack(machine.take(8))[0]),
        b"\x8a": _long,
        b"X": _text(_U32),
        b"\x8c": _text(_U8),
        b"\x8d": _text(_U64),
        b"C": _bytes(_U8),
        b"B": _bytes(_U32),
        b"\x8e": _bytes(_U64),
        b"t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
        b"\x85": _tuple(1),
        b"\x86": _tuple(2),
        b"\x87": _tuple(3),
        b"a": _append,
        b"e": _appends,
        b"\x90": _appends,
        b"s": _set_item,
        b"u": _set_items,
        b"q": _put(_U8),
        b"r": _put(_U32),
        b"h": _get(_U8),
        b"j": _get(_U32),
        b"\x94": _memoize,
        b"c": _global,
        b"\x93": _stack_global,
        b"R": _reduce,
        b"b": _build,
        b"Q": _persistent,
    }.items()
}
