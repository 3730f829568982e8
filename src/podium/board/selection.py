"""What a selector chose among the attempts of an exam (GenSelect), from the folder that its choices lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from podium.errors import InputError
from podium.folders import ChoicesFolder, ExamFolder
from podium.solve.selecting import SelectionScore
from podium.storage import read_json


@dataclass(frozen=True, slots=True)
class Selection:
    """One selector's choices; a score for every number of attempts that it chose among."""

    label: str
    scores: Sequence[SelectionScore]


def holds_selection(folder: Path) -> bool:
    """Whether all choices of a selector have been made here."""
    return ChoicesFolder(folder).is_finished()


def read_selection(folder: Path, label: str) -> Selection:
    """The finished choices in a folder.

    Raises:
        InputError: the scores are damaged.
    """
    path = ChoicesFolder(folder).scores
    try:
        scores = TypeAdapter(list[SelectionScore]).validate_python(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: not the scores of choices", "delete it and choose again") from error
    return Selection(label, scores)


def read_selections(exam: Path) -> list[Selection]:
    """The selectors that chose among the attempts of the exam in this folder."""
    found = sorted(folder for folder in ExamFolder(exam).choices.glob("*") if holds_selection(folder))
    return [selection for folder in found if (selection := read_selection(folder, folder.name)).scores]
