"""What is being done in a folder, written down when it is begun and compared when it is gone on with.

Knows nothing of exams: an identity is nested settings, and two of them differ in named settings with two values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.storage import read_json

FOUND_OUT = frozenset({"token_limit"})
_MOST = 6  # settings that are named
_LONGEST = 60  # characters of a value, of which so many are its last ones:
_TAIL = 24


def refuse_other(path: Path, identity: Mapping[str, Any], what: str, doing: str) -> None:
    """Compare what is to be done with what `path` says was begun; the same is no error.

    Args:
        what: is in the folder ("exam"); doing: what is done anew ("sit the exam").

    Raises:
        InputError: it is another one; names each setting that differs, its old value and its new one.
    """
    found = read_json(path)
    # What was found out on the way is no setting.
    found = {key: value for key, value in found.items() if key not in FOUND_OUT} if isinstance(found, dict) else {}
    if found == identity:
        return
    differing = list(differences(found, identity))
    more = f", and {len(differing) - _MOST} more" if len(differing) > _MOST else ""
    raise InputError(
        f"{path}: this folder holds another {what}: {', '.join(differing[:_MOST])}{more}",
        f"give the old settings to go on with it, choose another folder, or {doing} anew with --fresh",
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Each setting that differs, as `attempts was 12, is 16 now`."""
    for key in {**old, **new}:
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if key in ("config", "overrides"):
            yield from differences(_settings(before), _settings(now))
        elif key == "problems":
            yield _problems(_settings(before), _settings(now))
        else:
            yield f"{key} was {_said(before)}, is {_said(now)} now"


def _problems(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    told = [" of ".join(_said(side[key]) for key in ("count", "source") if side.get(key)) for side in (before, now)]
    if told[0] == told[1]:
        return f"the problems are {told[1]} as before, but with other texts, answers or rules, or in another order"
    return f"the problems were {told[0] or 'not told'}, are {told[1]} now"


def _settings(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _said(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return " ".join(map(_said, value)) or "not set"
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join(str(value).split())
    if len(text) <= _LONGEST:
        return text
    # What sets two models apart, weights and format, stands at the end of their names.
    return f"{text[: _LONGEST - _TAIL - 1]}…{text[-_TAIL:]}"
