"""Things of one kind by name: Podium's own, and those that installed packages add.

Knows names and entry points; not what is registered. A package of the user's adds a verifier, a stopping rule, a prompt
style, a profile, a drafter, a stage kind or a benchmark task by an entry point; docs/extending.md shows one of each.
Nothing is imported before its name is asked for, and a package that cannot be imported is reported only then.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from podium.errors import InputError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping that grows by `add`, and by entry points of installed packages.

    Args:
        noun: what one thing is called in messages.
        group: of the entry points. An entry point's name is the thing's; its value is the module that adds it, or the
            thing itself.
        homes: name -> module of Podium's own things that are added when that module is imported.
    """

    def __init__(self, noun: str, group: str, homes: Mapping[str, str] | None = None) -> None:
        self.noun, self.group, self.homes = noun, group, dict(homes or {})
        self._things: dict[str, T] = {}
        self._places: dict[str, str] = {}

    def add(self, name: str, thing: T, where: str | None = None) -> T:
        """Register `thing`. `where`: the module and the name that added it, if they are not the thing's own.

        Raises:
            InputError: another thing has that name.
        """
        where = where or place(thing)
        if name in self._things and self._places[name] != where:
            raise InputError(f"{where}: {self.noun} {name!r} is {self._places[name]} already", "rename one of the two")
        self._things[name], self._places[name] = thing, where
        return thing

    def known(self) -> list[T]:
        """The things that were added so far: Podium's own, and those that somebody has asked for."""
        return list(self._things.values())

    def find(self, name: str) -> T:
        """The thing called `name`.

        Raises:
            InputError: there is none; two packages offer it; or the one that does cannot be imported or adds no such
                thing.
        """
        try:
            return self[name]
        except KeyError:
            raise InputError(f"there is no {self.noun} {name!r}", nearest(name, self)) from None

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            self._load(name)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self.homes or (isinstance(name, str) and bool(self._points(name)))

    def __iter__(self) -> Iterator[str]:
        """Podium's own names and those added here first, then those of packages that nobody has asked for yet."""
        own = {**dict.fromkeys(self.homes), **dict.fromkeys(self._things)}
        yield from own
        yield from sorted({point.name for point in entry_points(group=self.group)} - own.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _points(self, name: str) -> list[EntryPoint]:
        return [point for point in entry_points(group=self.group) if point.name == name]

    def _load(self, name: str) -> None:
        if name in self.homes:
            importlib.import_module(self.homes[name])
            return
        points = {point.value: point for point in self._points(name)}
        if not points:
            raise KeyError(name)
        if len(points) > 1:
            packages = " and ".join(map(_package, points.values()))
            raise InputError(f"two packages offer a {self.noun} {name!r}: {packages}", "uninstall one of them")
        point = next(iter(points.values()))
        before = dict(self._things), dict(self._places)
        try:
            loaded: Any = point.load()
            if name not in self._things and point.attr:
                self.accept(name, loaded)
        except Exception as error:
            # A module may add its thing and fail afterwards: then there is no such thing, now and at the next try.
            self._things, self._places = before
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.noun} {name!r} of {_package(point)} cannot be imported: {type(error).__name__}: {error}",
                f"mend {point.value}, or uninstall {_package(point)}",
            ) from error
        if name not in self._things:
            raise InputError(
                f"{point.value} of {_package(point)} registers no {self.noun} {name!r}",
                "give the entry point the name under which the module registers it; docs/extending.md shows one",
            )

    @contextmanager
    def isolated(self) -> Iterator[dict[str, T]]:
        """What is added inside is forgotten afterwards, but for Podium's own: for tests. Gives the things themselves,
        to be changed."""
        things, places = dict(self._things), dict(self._places)
        try:
            yield self._things
        finally:
            for name in self.homes.keys() & self._places.keys() - places.keys():  # their modules add them only once
                things[name], places[name] = self._things[name], self._places[name]
            self._things, self._places = things, places

    def accept(self, name: str, loaded: Any) -> None:
        """Add what an entry point names itself. A registry with a decorator of its own replaces this."""
        self.add(name, loaded)


def place(thing: object) -> str:
    """Module and name of a class or function; of other things their text."""
    name = getattr(thing, "__qualname__", None)
    return repr(thing) if name is None else f"{getattr(thing, '__module__', '?')}.{name}"


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else point.value
