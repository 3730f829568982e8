"""The whole chain through the real command line, run once and copied by every test that needs a finished run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium import __version__  # noqa: F401  # before any test imports torch: podium says how waiting threads wait
from tests import command

TINY = Path(__file__).parent / "data" / "tiny.yaml"
# Tiny models gain nothing from threads, and a busy machine loses by them.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


def start_podium(*arguments: object, **keywords: object) -> subprocess.Popen[str]:
    """The command line in a process group of its own, so that signals reach it as a terminal would send them."""
    return subprocess.Popen(
        [sys.executable, "-m", "podium", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
        **keywords,  # type: ignore[call-overload]
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left on the console, and its exit code."""

    code: int
    out: str
    error: str


def run_podium(*arguments: object, **keywords: object) -> Said:
    """Run the command line to its end; with keywords of Popen, in a process of its own."""
    if not keywords:
        return Said(*command.run(list(map(str, arguments)), ENVIRONMENT, timeout=250))
    with start_podium(*arguments, **keywords) as process:
        out, error = process.communicate(timeout=250)
        return Said(process.returncode, out, error)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run of tests/data/tiny.yaml that came to its end, not to be changed."""

    runs: Path
    said: Said

    @property
    def folder(self) -> Path:
        return self.runs / "tiny"

    def copy(self, runs: Path, without: tuple[str, ...] = ()) -> Path:
        """A copy that a test may do anything to, some stages not yet run; returns its run folder."""
        shutil.copytree(self.folder, runs / "tiny", ignore=lambda at, _: without if Path(at) == self.folder else ())
        return runs / "tiny"


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The recipe."""
    return TINY


@pytest.fixture(scope="session")
def podium() -> Callable[..., Said]:
    """Runs the command line to its end."""
    return run_podium


@pytest.fixture(scope="session")
def starting() -> Callable[..., subprocess.Popen[str]]:
    """Starts the command line."""
    return start_podium


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny chain, run once by `podium run`."""
    runs = tmp_path_factory.mktemp("finished")
    said = run_podium("run", TINY, "--runs", runs)
    assert said.code == 0, said.out + said.error
    return Finished(runs, said)
