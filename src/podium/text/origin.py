"""Text that remembers for each of its characters who wrote it: a chat template, or somebody's message.

Knows strings and Jinja's way of joining them; no tokens. A template is rendered with the real contents, so that
whatever it does to them gives what it gives elsewhere, and afterwards every character is known to be the template's,
a message's, or UNSURE where an operation that is not followed character by character made it from both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TEMPLATE, MESSAGE, UNSURE = range(3)

_HELD = re.compile("\ue000(\\d+)\ue001")


class Traced(str):
    """A string, with the origin of each character. In all else it is the plain string: equal, found, as long."""

    __slots__ = ("_origins",)
    _origins: bytes

    def __new__(cls, text: str, origins: bytes | int) -> Traced:
        made = super().__new__(cls, text)
        made._origins = bytes((origins,)) * len(text) if isinstance(origins, int) else origins
        return made

    def __str__(self) -> str:
        return self

    def _part(self, start: int, end: int) -> Traced:
        return Traced(str.__getitem__(self, slice(start, end)), self._origins[start:end])

    def __getitem__(self, key: Any) -> Traced:
        if not isinstance(key, slice):
            str.__getitem__(self, key)  # raises where there is no such character
            key = slice(key, key + 1 or None)
        return Traced(str.__getitem__(self, key), self._origins[key])

    def __iter__(self) -> Iterator[str]:
        return (self._part(place, place + 1) for place in range(len(self)))

    def __add__(self, other: str) -> Traced:
        return joined((self, other))

    def __radd__(self, other: str) -> Traced:
        return joined((other, self))

    def __mul__(self, times: Any) -> Traced:
        return Traced(str.__mul__(self, times), self._origins * times)

    def __rmul__(self, times: Any) -> Traced:
        return self * times

    def __mod__(self, values: Any) -> Traced:
        return Traced(str.__mod__(self, values), UNSURE)

    def __rmod__(self, form: str) -> Traced:
        return Traced(str.__mod__(form, str.__getitem__(self, slice(None))), UNSURE)

    def strip(self, chars: str | None = None) -> Traced:
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> Traced:
        return self._part(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None) -> Traced:
        return self._part(0, len(str.rstrip(self, chars)))

    def removeprefix(self, prefix: str) -> Traced:
        return self._part(len(self) - len(str.removeprefix(self, prefix)), len(self))

    def removesuffix(self, suffix: str) -> Traced:
        return self._part(0, len(str.removesuffix(self, suffix)))

    def _cut(self, parts: Iterable[str]) -> list[Any]:
        """`parts` of this string in order, each where it is found behind the one before."""
        place, found = 0, []
        for part in parts:
            place = self.index(part, place)
            found.append(self._part(place, place + len(part)))
            place += len(part)
        return found

    def split(self, sep: str | None = None, maxsplit: Any = -1) -> list[Any]:
        return self._cut(str.split(self, sep, maxsplit)) if sep is None else self._at(sep, str.split, maxsplit)

    def rsplit(self, sep: str | None = None, maxsplit: Any = -1) -> list[Any]:
        return self._cut(str.rsplit(self, sep, maxsplit)) if sep is None else self._at(sep, str.rsplit, maxsplit)

    def _at(self, separator: str, divide: Any, most: int) -> list[Any]:
        place, found = 0, []
        for part in divide(self, separator, most):
            found.append(self._part(place, place + len(part)))
            place += len(part) + len(separator)
        return found

    def splitlines(self, keepends: bool = False) -> list[Any]:
        lines = self._cut(str.splitlines(self, True))
        return lines if keepends else [line._part(0, len(str.splitlines(line)[0])) for line in lines]

    def partition(self, sep: str) -> tuple[Any, Any, Any]:
        before, found, _ = str.partition(self, sep)
        first, second = len(before), len(before) + len(found)
        return self._part(0, first), self._part(first, second), self._part(second, len(self))

    def rpartition(self, sep: str) -> tuple[Any, Any, Any]:
        before, found, _ = str.rpartition(self, sep)
        first, second = len(before), len(before) + len(found)
        return self._part(0, first), self._part(first, second), self._part(second, len(self))

    def replace(self, old: str, new: str, count: Any = -1) -> Traced:
        if not old:
            return Traced(str.replace(self, old, new, count), UNSURE)
        parts = self._at(old, str.split, count)
        return joined([piece for part in parts for piece in (new, part)][1:])

    def join(self, parts: Iterable[str]) -> Traced:
        return joined([piece for part in parts for piece in (self, part)][1:])

    def _character_by_character(self, change: Any) -> Traced:
        whole = change(str.__getitem__(self, slice(None)))
        # Some letters grow (ß), and a last sigma looks at its neighbours.
        return Traced(whole, self._origins if len(whole) == len(self) else UNSURE)

    def upper(self) -> Traced:
        return self._character_by_character(str.upper)

    def lower(self) -> Traced:
        return self._character_by_character(str.lower)

    def title(self) -> Traced:
        return self._character_by_character(str.title)

    def capitalize(self) -> Traced:
        return self._character_by_character(str.capitalize)

    def swapcase(self) -> Traced:
        return self._character_by_character(str.swapcase)

    def casefold(self) -> Traced:
        return self._character_by_character(str.casefold)


def origins_of(text: str) -> bytes:
    """The origin of each character. A plain string is the template's own."""
    return text._origins if isinstance(text, Traced) else bytes(len(text))


def joined(parts: Iterable[str]) -> Traced:
    """ "".join, with the origins."""
    parts = list(parts)
    return Traced("".join(parts), b"".join(map(origins_of, parts)))


def traced(value: Any) -> Any:
    """The value with every string in it, keys included, marked as a message's."""
    if isinstance(value, str):
        return Traced(value, MESSAGE)
    if isinstance(value, Mapping):
        return {traced(key): traced(part) for key, part in value.items()}
    return [traced(part) for part in value] if isinstance(value, list | tuple) else value


def is_traced(value: Any) -> bool:
    """Whether some string in it is."""
    if isinstance(value, Mapping):
        return any(is_traced(key) or is_traced(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return any(map(is_traced, value))
    return isinstance(value, Traced)


def followed(result: Any, sources: Iterable[Any]) -> Any:
    """What an operation made that knows nothing of origins: its text is UNSURE where a source has any."""
    if isinstance(result, str) and not isinstance(result, Traced):
        return Traced(result, UNSURE) if any(map(is_traced, sources)) else result
    if isinstance(result, list) and any(type(part) is str for part in result) and any(map(is_traced, sources)):
        return [Traced(part, UNSURE) if type(part) is str else part for part in result]
    return result


def spelled(value: Any) -> str:
    """str of what a template puts out; a list or dictionary that holds a message's text is UNSURE."""
    return value if isinstance(value, str) else followed(str(value), (value,))


def dump_json(value: Any, sort_keys: bool = False, **options: Any) -> str:
    """json.dumps; strings of messages stay theirs, with the escapes in them."""
    text = json.dumps(value, sort_keys=sort_keys, **options)
    if not is_traced(value):
        return text
    held: list[str] = []

    def hold(part: Any) -> Any:
        if isinstance(part, Traced):
            held.append(part)
            return f"\ue000{len(held) - 1}\ue001"
        if isinstance(part, Mapping):
            return {hold(key): hold(part[key]) for key in (sorted(part) if sort_keys else part)}
        return [hold(each) for each in part] if isinstance(part, list | tuple) else part

    dumped = json.dumps(hold(value), **{**options, "ensure_ascii": False})
    escape = {"ensure_ascii": options.get("ensure_ascii", True)}
    pieces: list[str] = []
    for place, piece in enumerate(_HELD.split(dumped)):
        pieces.append(Traced(json.dumps(held[int(piece)], **escape)[1:-1], MESSAGE) if place % 2 else piece)
    whole = joined(pieces)
    return whole if whole == text else Traced(text, UNSURE)
