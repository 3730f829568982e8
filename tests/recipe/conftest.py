"""Recipes on disk, and a `podium` whose stages are the small ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import small_stages  # noqa: E402, F401 - registers the kinds

COMMAND = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import small_stages
sys.modules["podium.recipe.stages"] = small_stages
from podium.commands.cli import app
app()
"""

Recipe = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Recipe:
    """Write a recipe file and return its path."""

    def written(text: str, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def podium(*arguments: object, **keywords: object) -> subprocess.Popen[str]:
    """The real command line in a process of its own."""
    command = [sys.executable, "-c", COMMAND, str(HERE), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **keywords)  # type: ignore[call-overload]
