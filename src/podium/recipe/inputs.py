"""Where the files of a stage's input lie: an input may be a stage's folder, or a file or folder of the user's.

Models are found by podium.models.place.find_model, here as everywhere.
"""

from __future__ import annotations

from pathlib import Path

from podium.folders import ATTEMPTS

MODEL = "model"
SOLUTIONS = "solutions.jsonl"


def file_of(path: Path, name: str) -> Path:
    """The file of that name in a stage's folder, or the file itself."""
    return path / name if path.is_dir() else path


def answers_of(path: Path) -> Path:
    """The answers in the folder of a teaching or exam stage, or a file of the user's."""
    return file_of(path, SOLUTIONS if (path / SOLUTIONS).exists() else ATTEMPTS)
