"""An error is a message and a cure."""

from __future__ import annotations

import pytest

from podium.errors import InputError, PodiumError, StorageError, nearest


@pytest.mark.parametrize("kind", [InputError, StorageError])
def test_message_and_cure_stand_apart_and_together(kind: type[PodiumError]) -> None:
    error = kind("a.yaml:3: unknown key 'stpes'", "did you mean 'steps'?")
    assert isinstance(error, PodiumError)
    assert (error.message, error.cure) == ("a.yaml:3: unknown key 'stpes'", "did you mean 'steps'?")
    assert str(error) == "a.yaml:3: unknown key 'stpes'\n  -> did you mean 'steps'?"


def test_without_a_cure_there_is_no_arrow() -> None:
    assert str(PodiumError("broken")) == "broken"


@pytest.mark.parametrize("typo", ["stpes", "step", "steps_", "Steps"])
def test_a_misspelt_name_is_guessed(typo: str) -> None:
    assert nearest(typo, ["lr", "steps", "seed", "batch"]) == "did you mean 'steps'?"


def test_a_far_off_name_gets_the_whole_list() -> None:
    assert nearest("xyz", ["b", "a"]) == "known: a, b"


def test_a_long_list_is_cut() -> None:
    said = nearest("?", [f"name{number:03d}" for number in range(100)])
    assert said.endswith("name039 …")
