"""What an exam came to, from its ExamResult rows: scores, votes against time, scores by task.

The definitions of pass@k, maj@k and what counts are those of podium.solve.scores, so that a page never disagrees with
`summary.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from podium.board.statistics import vote_score
from podium.folders import ExamFolder
from podium.records import Attempt, ExamResult, Verdict
from podium.solve.missing import why_unanswered, without_reference
from podium.solve.scores import Scores, counted, score_results
from podium.storage import read_json

WORDS = {"cot": "CoT", "tir": "TIR", "genselect": "GenSelect", "sft": "SFT", "rl": "RL"}


@dataclass(frozen=True)
class Exam:
    """All results of one exam. `name` is the stage's; `label` is what people read."""

    name: str
    label: str
    results: tuple[ExamResult, ...]
    asked: int | None = None  # attempts per problem as the exam was set, where its folder says

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(attempt for result in self.results for attempt in result.attempts)

    @cached_property
    def scores(self) -> Scores:
        return score_results(self.results, max(1, self.n))

    @cached_property
    def n(self) -> int:
        """Attempts per problem: what was asked for, or the largest number at one problem. As in `summary.json`."""
        return self.asked or max((len(result.attempts) for result in self.results), default=0)

    @cached_property
    def uses_code(self) -> bool:
        """The exam offered code: its attempts are tool-integrated, or ran some."""
        return any(attempt.style == "tir" or attempt.usage.code_calls > 0 for attempt in self.attempts)

    @cached_property
    def unanswered(self) -> list[str]:
        """Which problems nothing can be graded by; why most attempts have no answer and what to do about it."""
        graded = without_reference([row.problem for row in self.results])
        return graded + why_unanswered([(row.problem, attempt) for row in self.results for attempt in row.attempts])

    @property
    def vote(self) -> str:
        """What its votes weighed attempts by."""
        return ", ".join(sorted({result.vote for result in self.results})) or "uniform"

    @property
    def is_merged(self) -> bool:
        return "merge" in self.name.lower()

    @property
    def token_limits(self) -> list[int]:
        """The token limits its attempts were sampled with."""
        limits = {attempt.maker.sampling.get("max_tokens") for attempt in self.attempts}
        return sorted(limit for limit in limits if isinstance(limit, int))

    @property
    def tiers(self) -> list[str]:
        """The sandbox tiers its code ran under."""
        return sorted({attempt.tier for attempt in self.attempts if attempt.tier})


def is_correct(attempt: Attempt) -> bool:
    return attempt.verdict == Verdict.CORRECT


def answered(result: ExamResult) -> float:
    """1 if the exam's answer is correct. Undecided is not."""
    return float(result.verdict == Verdict.CORRECT)


def single_correct(result: ExamResult) -> float:
    """The share of the counted attempts that are correct: the chance that one alone would have been."""
    attempts = counted(result)
    return sum(map(is_correct, attempts)) / max(1, len(attempts))


def code_calls(result: ExamResult) -> float:
    """Code calls per counted attempt."""
    attempts = counted(result)
    return sum(attempt.usage.code_calls for attempt in attempts) / max(1, len(attempts))


def task_of(result: ExamResult) -> str:
    """The task a problem belongs to: what its row says, or where it came from."""
    return str(result.problem.meta.get("task") or result.problem.source or "all")


def label_of(name: str) -> str:
    """exam_cot -> CoT; exam_merged -> merged."""
    words = [word for word in name.replace("-", "_").split("_") if word and word != "exam"]
    return " ".join(WORDS.get(word.lower(), word) for word in words) or name


def answer_time(attempt: Attempt) -> float:
    """Seconds after the problem was opened at which the attempt's answer was known."""
    for event in attempt.events:
        if event.kind == "answer":
            return event.time
    return attempt.events[-1].time if attempt.events else attempt.usage.seconds


def score_by_time(exam: Exam, points: int = 80) -> list[tuple[float, float]]:
    """(seconds after a problem was opened, share of problems that a vote over the answers known by then gets right)."""
    timed: list[list[tuple[float, tuple[int, bool]]]] = []
    for result in exam.results:
        class_of = {index: number for number, vote in enumerate(result.votes) for index in vote.attempts}
        timed.append(
            [
                (answer_time(attempt), (class_of[attempt.index], is_correct(attempt)))
                for attempt in result.attempts
                if attempt.index in class_of
            ]
        )
    moments = sorted({time for row in timed for time, _ in row})
    if not moments:
        return []
    if len(moments) > points:
        moments = [moments[round(i * (len(moments) - 1) / (points - 1))] for i in range(points)]
    return [
        (moment, sum(vote_score([ballot for time, ballot in row if time <= moment]) for row in timed) / len(timed))
        for moment in [0.0, *moments]
    ]


def scores_by_task(exams: Sequence[Exam]) -> dict[str, list[tuple[int, int]]]:
    """Task -> (problems answered correctly, problems) for each exam; the hardest task first."""
    table: dict[str, list[list[int]]] = {}
    for column, exam in enumerate(exams):
        for result in exam.results:
            cells = table.setdefault(task_of(result), [[0, 0] for _ in exams])
            cells[column][0] += result.verdict == Verdict.CORRECT
            cells[column][1] += 1

    def share(cells: list[list[int]]) -> float:
        return sum(correct for correct, _ in cells) / max(1, sum(total for _, total in cells))

    ranked = sorted(table.items(), key=lambda item: (share(item[1]), item[0]))
    return {task: [(correct, total) for correct, total in cells] for task, cells in ranked}


def read_exam(folder: Path, name: str) -> Exam:
    """The exam in a folder that holds `results.jsonl`."""
    return Exam(name, label_of(name), tuple(ExamFolder(folder).read_results()), attempts_asked(folder))


def attempts_asked(folder: Path) -> int | None:
    """Attempts per problem that the exam in a folder was set with; None where it does not say."""
    known = ExamFolder(folder).claim
    if not known.is_file():
        return None
    config = read_json(known).get("config")
    asked = config.get("attempts") if isinstance(config, dict) else None
    return asked if isinstance(asked, int) and asked > 0 else None
