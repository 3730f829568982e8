"""The folders that Podium writes, by their files: of a run and its stages, of an exam, of a selector's choices.

The one place where the names of these files stand. It knows what a folder holds and what of it is finished, and reads
rows and settings; what they mean is known to the rooms that write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from podium.records import ExamResult
from podium.runlog import EVENTS, METRICS, SYSTEM
from podium.storage import drop_torn_line, read_json, read_rows

# A run's folder and those of its stages.
RECIPE: Final = "recipe.yaml"
REPORT: Final = "report.html"
BEGUN: Final = "stage.json"
DONE: Final = "done.json"
LOGS: Final = frozenset({EVENTS, METRICS})
RUN_FILES: Final = frozenset({RECIPE, REPORT, SYSTEM}) | LOGS
"""What lies in a run's folder besides the folders of its stages."""

# An exam's folder.
RESULTS: Final = "results.jsonl"
ATTEMPTS: Final = "attempts.jsonl"

INSPECT: Final = "inspect.eval"
"""An exam as an Inspect log, where no other file is named for it."""


@dataclass(frozen=True, slots=True)
class ExamFolder:
    """The folder of one exam; it need not be there yet."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> ExamFolder:
        """The exam in a folder, or the one whose results a path names."""
        return cls(path.parent if path.name == RESULTS else path)

    @property
    def claim(self) -> Path:
        """What is being sat; written before the first problem."""
        return self.path / "exam.json"

    @property
    def results(self) -> Path:
        """One ExamResult per finished problem, appended as problems are finished."""
        return self.path / RESULTS

    @property
    def traces(self) -> Path:
        """One Trace per finished problem, what the policy was told and did."""
        return self.path / "traces.jsonl"

    @property
    def attempts(self) -> Path:
        """One Attempt per attempt, written when all problems are finished."""
        return self.path / ATTEMPTS

    @property
    def summary(self) -> Path:
        """The exam's ExamSummary; the file that makes an exam a finished one."""
        return self.path / "summary.json"

    @property
    def budgets(self) -> Path:
        """What the exam would have scored with less time or fewer tokens."""
        return self.path / "budgets.json"

    @property
    def system(self) -> Path:
        """The machine that it was sat on."""
        return self.path / SYSTEM

    @property
    def choices(self) -> Path:
        """Holds a ChoicesFolder for every selector that chose among the attempts."""
        return self.path / "genselect"

    @property
    def marks(self) -> tuple[Path, Path]:
        """Files of which one is there as soon as an exam was begun here."""
        return self.claim, self.results

    def is_there(self) -> bool:
        """Whether the folder holds an exam, finished or not."""
        return self.results.is_file()

    def is_begun(self) -> bool:
        """Whether at least one problem was finished."""
        return _has_bytes(self.results)

    def is_finished(self) -> bool:
        """Whether all problems were finished and scored."""
        return self.summary.is_file()

    def read_results(self) -> list[ExamResult]:
        """The finished problems.

        Raises:
            InputError: there is no such file, or a row is damaged.
        """
        return read_rows(self.results, ExamResult)

    def resume_results(self) -> list[ExamResult]:
        """The finished problems, none where there is no exam; a row that a killed writer left unfinished is taken
        away, so call it where the folder is held.

        Raises:
            InputError: a row is damaged.
        """
        if not self.results.exists():
            return []
        drop_torn_line(self.results)
        return self.read_results()

    def read_claim(self) -> dict[str, Any]:
        """What is being sat, as it is written; empty where nobody wrote it.

        Raises:
            InputError: the file is damaged.
        """
        return read_json(self.claim) if self.claim.exists() else {}


@dataclass(frozen=True, slots=True)
class ChoicesFolder:
    """The folder of what one selector chose among the attempts of an exam; it need not be there yet."""

    path: Path

    @property
    def claim(self) -> Path:
        """What is being chosen from, by whom; written before the first choice."""
        return self.path / "select.json"

    @property
    def choices(self) -> Path:
        """One Choice per set of attempts, appended as they are made."""
        return self.path / "choices.jsonl"

    @property
    def scores(self) -> Path:
        """The SelectionScores, written when all choices are made."""
        return self.path / "scores.json"

    @property
    def marks(self) -> tuple[Path, Path]:
        """Files of which one is there as soon as choosing was begun here."""
        return self.claim, self.choices

    def is_begun(self) -> bool:
        """Whether at least one choice was made, and it is known of what."""
        return _has_bytes(self.choices) and self.claim.exists()

    def is_finished(self) -> bool:
        """Whether all choices were made and scored."""
        return self.claim.is_file() and self.scores.is_file()


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
