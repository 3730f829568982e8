"""What is marked is left out of an identity, at every depth; what is not marked stays."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from podium.settings import NOT_IDENTITY, flat, free_of, identity_of, is_identity


class Inner(BaseModel):
    width: int = 3
    workers: Annotated[int, NOT_IDENTITY] = 1


class Plain(BaseModel):
    width: int = 3


class Outer(BaseModel):
    rows: int = 1
    threads: Annotated[int | None, NOT_IDENTITY] = Field(None, ge=1)
    inner: Inner = Inner()
    given: Inner | None = None
    by_name: dict[str, Inner] = {}
    listed: tuple[Inner | Plain, ...] = ()
    all_of_it: Annotated[Plain, NOT_IDENTITY] = Plain()


def test_marked_fields_are_left_out_at_every_depth() -> None:
    settings = Outer(
        threads=2, given=Inner(workers=5), by_name={"a": Inner(width=1)}, listed=(Plain(width=7), Inner(workers=8))
    )
    assert identity_of(settings) == {
        "rows": 1,
        "inner": {"width": 3},
        "given": {"width": 3},
        "by_name": {"a": {"width": 1}},
        "listed": [{"width": 7}, {"width": 3}],
    }
    assert free_of(settings) == {
        "threads": 2,
        "inner.workers": 1,
        "given.workers": 5,
        "by_name.a.workers": 1,
        # Only what is marked is shown, so the list holds one entry here.
        "listed.0.workers": 8,
        "all_of_it.width": 3,
    }


def test_settings_without_a_mark_are_their_own_identity() -> None:
    assert identity_of(Plain()) == {"width": 3}
    assert free_of(Plain()) == {}


def test_values_keep_pythons_form_where_it_is_asked_for() -> None:
    class Pair(BaseModel):
        betas: tuple[float, float] = (0.9, 0.95)

    assert identity_of(Pair(), "python") == {"betas": (0.9, 0.95)}
    assert identity_of(Pair()) == {"betas": [0.9, 0.95]}


@pytest.mark.parametrize(("name", "counts"), [("rows", True), ("threads", False), ("inner", True)])
def test_a_field_knows_whether_it_counts(name: str, counts: bool) -> None:
    assert is_identity(Outer, name) is counts


def test_a_bound_on_a_marked_field_still_holds() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Outer(threads=0)


def test_nested_values_have_dotted_names() -> None:
    assert flat({"a": {"b": 1, "c": [2, {"d": 3}]}, "e": None}) == {"a.b": 1, "a.c.0": 2, "a.c.1.d": 3, "e": None}
