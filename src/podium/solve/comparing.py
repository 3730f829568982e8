"""Two exams over the same problems: what differs, how sure that is, and what could have been seen at all.

Paired by problem: a problem counts only where both exams sat it with the same text. Reads rows; knows no folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podium.errors import InputError
from podium.records import Attempt, Event, ExamResult, Verdict
from podium.solve.scores import Estimate, counted, estimate, majority_of
from podium.solve.statistics import (
    Difference,
    detectable_difference,
    error_parts,
    paired_bootstrap,
    pass_at_k,
    sign_flip_test,
)


@dataclass(frozen=True, slots=True)
class Side:
    """What must be known of an exam beside its score."""

    problems: int
    attempts: int  # k: counted attempts per problem, the median
    token_limits: tuple[int, ...]
    models: tuple[str, ...]
    mean_tokens: float  # written per counted attempt
    seconds: float  # used by all problems
    truncated: float  # share of counted attempts that ran into the token limit
    undecided: float  # share of counted attempts
    judged: int  # attempts that a judge decided
    votes: tuple[str, ...]  # what the votes weighed attempts by
    unanswered: int  # problems
    answers_undecided: int  # problems
    ties: int  # problems
    error: float  # standard error of pass@1 …
    error_of_problems: float  # … and with endlessly many attempts at the same problems


@dataclass(frozen=True, slots=True)
class Contrast:
    """One measure on both exams. `p` is the paired sign-flip test's; `detectable` the smallest true difference that it
    finds four times in five; both need at least two problems."""

    measure: str
    a: Estimate
    b: Estimate
    difference: Difference  # a - b
    p: float
    detectable: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A problem that one exam answered and the other did not."""

    problem: str
    gold: str | None
    a: str | None
    b: str | None
    won: str  # "a" or "b"


@dataclass(frozen=True, slots=True)
class Level:
    """Scores of what was known within a budget of tokens, or of seconds since the problem was opened, per attempt."""

    budget: float
    pass_1: float
    majority: float


@dataclass(frozen=True, slots=True)
class ExamComparison:
    """Everything `podium compare` shows."""

    shared: int
    only_a: int
    only_b: int
    reworded: int  # problems of one id and two texts: left out
    sides: tuple[Side, Side]
    contrasts: tuple[Contrast, ...]
    flips: tuple[Flip, ...]
    by_tokens: tuple[tuple[Level, ...], tuple[Level, ...]]
    by_seconds: tuple[tuple[Level, ...], tuple[Level, ...]]
    cautions: tuple[str, ...]


def compare_exams(a: Sequence[ExamResult], b: Sequence[ExamResult], seed: int = 0) -> ExamComparison:
    """Compare two exams over the problems both sat.

    Raises:
        InputError: fewer than two shared problems.
    """
    left = {result.problem.id: result for result in a}
    right = {result.problem.id: result for result in b}
    common = [key for key in left if key in right]
    shared = [key for key in common if left[key].problem.text == right[key].problem.text]
    if len(shared) < 2:
        raise InputError(
            f"the exams share {len(shared)} problems ({len(left)} and {len(right)} sat)",
            "compare exams over the same set; problems are matched by id and text",
        )
    ours, theirs = [left[key] for key in shared], [right[key] for key in shared]
    sides = _side(ours), _side(theirs)
    k = max(1, min(side.attempts for side in sides))
    measures: list[tuple[str, Callable[[ExamResult], float]]] = [
        ("score", lambda result: float(result.verdict is Verdict.CORRECT)),
        ("pass@1", lambda result: _pass(result, 1)),
    ]
    if k > 1:
        measures += [(f"maj@{k}", lambda result: majority_of(result, k)), (f"pass@{k}", lambda r: _pass(r, k))]
    return ExamComparison(
        shared=len(shared),
        only_a=len(left) - len(common),
        only_b=len(right) - len(common),
        reworded=len(common) - len(shared),
        sides=sides,
        contrasts=tuple(_contrast(name, measure, ours, theirs, seed) for name, measure in measures),
        flips=tuple(flip for pair in zip(ours, theirs, strict=True) if (flip := _flip(*pair))),
        by_tokens=_levels_of_both(ours, theirs, answer_tokens),
        by_seconds=_levels_of_both(ours, theirs, answer_seconds),
        cautions=tuple(_cautions(ours, theirs, sides)),
    )


def _contrast(
    name: str,
    measure: Callable[[ExamResult], float],
    a: Sequence[ExamResult],
    b: Sequence[ExamResult],
    seed: int,
) -> Contrast:
    left, right = [measure(result) for result in a], [measure(result) for result in b]
    differences = [x - y for x, y in zip(left, right, strict=True)]
    return Contrast(
        name,
        estimate(left, seed),
        estimate(right, seed),
        paired_bootstrap(differences, seed),
        sign_flip_test(differences, seed),
        detectable_difference(differences),
    )


def _pass(result: ExamResult, k: int) -> float:
    attempts = counted(result)
    right = sum(attempt.verdict is Verdict.CORRECT for attempt in attempts)
    return pass_at_k(len(attempts), right, min(k, len(attempts))) if attempts else 0.0


def _side(results: Sequence[ExamResult]) -> Side:
    attempts = [attempt for result in results for attempt in counted(result)]
    per_problem = sorted(len(counted(result)) for result in results)
    limits = {attempt.maker.sampling.get("max_tokens") for attempt in attempts}
    parts = error_parts([[attempt.verdict is Verdict.CORRECT for attempt in counted(result)] for result in results])
    n = max(1, len(attempts))
    return Side(
        problems=len(results),
        attempts=per_problem[len(per_problem) // 2],
        token_limits=tuple(sorted(limit for limit in limits if isinstance(limit, int))),
        models=tuple(sorted({attempt.maker.model for attempt in attempts})),
        mean_tokens=sum(attempt.usage.completion_tokens for attempt in attempts) / n,
        seconds=sum(result.used_seconds for result in results),
        truncated=sum(attempt.stop_reason == "length" for attempt in attempts) / n,
        undecided=sum(attempt.verdict is Verdict.UNDECIDED for attempt in attempts) / n,
        judged=sum(attempt.verdict_by == "judge" for attempt in attempts),
        votes=tuple(sorted({result.vote for result in results})),
        unanswered=sum(result.answer is None for result in results),
        answers_undecided=sum(result.verdict is Verdict.UNDECIDED for result in results),
        ties=sum(result.tie for result in results),
        error=parts.error,
        error_of_problems=parts.problems_only,
    )


def _flip(a: ExamResult, b: ExamResult) -> Flip | None:
    ours, theirs = a.verdict is Verdict.CORRECT, b.verdict is Verdict.CORRECT
    if ours == theirs:
        return None
    return Flip(a.problem.id, a.problem.answer, a.answer, b.answer, "a" if ours else "b")


def _cautions(a: Sequence[ExamResult], b: Sequence[ExamResult], sides: tuple[Side, Side]) -> list[str]:
    said: list[str] = []
    if sides[0].attempts != sides[1].attempts:
        said.append(
            f"attempts per problem differ ({sides[0].attempts} and {sides[1].attempts}): the score favours more"
        )
    if sides[0].token_limits != sides[1].token_limits:
        a_limits, b_limits = (
            " and ".join(f"{limit:,}" for limit in side.token_limits) or "none told" for side in sides
        )
        said.append(f"token limits differ (A: {a_limits}; B: {b_limits})")
    golds = sum(x.problem.answer != y.problem.answer for x, y in zip(a, b, strict=True))
    if golds:
        said.append(f"{golds} problems have another gold answer in the other exam")
    rules = sum(
        (x.problem.verifier, x.problem.meta.get("rules")) != (y.problem.verifier, y.problem.meta.get("rules"))
        for x, y in zip(a, b, strict=True)
    )
    if rules:
        said.append(f"{rules} problems were graded by other rules in the other exam")
    for name, side in zip("AB", sides, strict=True):
        if side.undecided > 0.02:
            said.append(f"{name}: {100 * side.undecided:.1f} % of the attempts are undecided, counted as wrong")
        if side.truncated > 0.1:
            said.append(f"{name}: {100 * side.truncated:.0f} % of the attempts ran into the token limit")
    return said


def answer_tokens(attempt: Attempt) -> float:
    """Tokens after which the attempt's answer was known."""
    return float(next((event.tokens for event in _settling(attempt)), attempt.usage.completion_tokens))


def answer_seconds(attempt: Attempt) -> float:
    """Seconds after the problem was opened at which the attempt's answer was known."""
    last = attempt.events[-1].time if attempt.events else attempt.usage.seconds
    return next((event.time for event in _settling(attempt)), last)


def _settling(attempt: Attempt) -> list[Event]:
    """The events at which the answer stood as it ended; the first of the last unbroken row of them comes first."""
    settled: list[Event] = []
    for event in reversed([event for event in attempt.events if event.kind == "answer"]):
        if event.answer != attempt.answer:
            break
        settled.insert(0, event)
    return settled


def levels(
    results: Sequence[ExamResult], known: Callable[[Attempt], float], budgets: Sequence[float]
) -> tuple[Level, ...]:
    """Scores within each budget: an attempt counts as unanswered until `known` says its answer was there.

    Every counted attempt stays in the denominator, so that a level reads as the score of an exam with that budget.
    """
    return tuple(
        Level(
            budget,
            sum(_pass(cut, 1) for cut in within) / len(within),
            sum(majority_of(cut, len(counted(cut)) or 1) for cut in within) / len(within),
        )
        for budget in budgets
        for within in [[_within(result, known, budget) for result in results]]
    )


def _within(result: ExamResult, known: Callable[[Attempt], float], budget: float) -> ExamResult:
    attempts = tuple(
        attempt
        if attempt.answer is None or known(attempt) <= budget
        else attempt.model_copy(update={"answer": None, "verdict": Verdict.NO_ANSWER})
        for attempt in result.attempts
    )
    return result.model_copy(update={"attempts": attempts})


def _levels_of_both(
    a: Sequence[ExamResult], b: Sequence[ExamResult], known: Callable[[Attempt], float]
) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    most = max(
        (known(attempt) for result in (*a, *b) for attempt in counted(result) if attempt.answer is not None),
        default=0.0,
    )
    budgets = [most / 2**halving for halving in range(5, -1, -1)] if most > 0 else []
    return levels(a, known, budgets), levels(b, known, budgets)
