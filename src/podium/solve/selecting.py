"""GenSelect over a whole exam: a model chooses among attempts that are there, beside the vote over the same ones.

For n attempts per problem out of the m that were made, the m // n sets that share none are chosen from, each on its
own: the mean over them says more of n than one set does, at equal samples for choice and vote. Knows neither how the
attempts were made nor which engine chooses. The folder holds

- `select.json`: what is being chosen from, by whom; a folder with other choices is refused;
- `choices.jsonl`: one Choice per set of attempts, appended and fsynced: kill -9 loses those in flight;
- `scores.json`: written when all choices are made.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from podium.answering.code_session import CodeSandbox
from podium.answering.protocol import Completer, Sampling
from podium.errors import InputError
from podium.folders import ChoicesFolder
from podium.lock import locked_folder
from podium.records import Attempt, ExamResult, Row, Verdict
from podium.settings import identity_of
from podium.solve.exam import BUSY
from podium.solve.genselect import MOST, PROMPT_CHARACTERS, Named, candidates_of, select
from podium.solve.identity import refuse_other
from podium.solve.scores import Estimate, estimate
from podium.solve.statistics import paired_bootstrap, sign_flip_test
from podium.solve.vote import Vote, ballots, majority, weigh
from podium.storage import Journal, drop_torn_line, read_rows, write_json


class SelectConfig(BaseModel):
    """How is chosen, as a person writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="attempts per problem to choose among; none: all there are"
    )
    repeats: int = Field(8, ge=1, description="choices per set of attempts; the majority of the picks counts")
    named: Named = Field("index", description="how a pick is named: `Judgment: IDX`, or by its answer in a box")
    most: int = Field(MOST, ge=2, description="solutions shown at a time")
    characters: int = Field(PROMPT_CHARACTERS, ge=1, description="longest prompt; fewer solutions are shown above it")
    max_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    vote: str = Field("uniform", description="weight of an attempt in the vote that is compared with")
    seed: int = 0


class Choice(Row):
    """What was chosen from one set of attempts, and what a vote says of the same set. Scores split ties.

    `both_score`: picks and attempts in one vote, in which all picks together weigh as much as all attempts.
    """

    problem_id: str
    n: int
    attempts: tuple[int, ...]
    candidates: int  # attempts that could be shown
    asked: int  # 0: there was nothing to choose
    picks: tuple[int, ...]  # attempts
    invalid: int
    answer: str | None
    score: float
    vote: str | None
    vote_score: float
    both_score: float
    single: float  # share of right attempts
    passed: bool  # any attempt right


class SelectionScore(BaseModel):
    """Choice against vote at one n; means over the sets of a problem, then over problems."""

    model_config = ConfigDict(frozen=True)

    n: int
    problems: int
    sets: int
    single: Estimate
    vote: Estimate
    select: Estimate
    both: Estimate
    passed: Estimate
    gain: float  # select - vote, with its paired interval and the two-sided p of a sign-flip test over problems
    gain_low: float
    gain_high: float
    p: float
    asked: int
    invalid: int


Told = Callable[[int, int], None]
"""Told of every finished set: (finished so far, all sets)."""


async def choose_all(
    results: Sequence[ExamResult],
    completer: Completer,
    config: SelectConfig,
    folder: Path | str,
    *,
    sandbox: CodeSandbox | None = None,
    concurrency: int = 4,
    told: Told | None = None,
) -> list[SelectionScore]:
    """Choose from the attempts of an exam's problems, and score choice and vote for every n.

    With a `sandbox` the code that the judge writes is run.

    Raises:
        InputError: no results, fewer attempts than an n, a folder with other choices, or a model that never named a
            solution.
        CompleterError: every request for a set failed; finished sets are kept.
        StorageError: another process, or another task of this one, is choosing in the folder.
    """
    folder = Path(folder)
    if not results:
        raise InputError("the exam has no results", "sit it first")
    sizes = tuple(dict.fromkeys(config.n)) or (max(1, *(len(result.attempts) for result in results)),)
    least = min(len(result.attempts) for result in results)
    if config.n and max(config.n) > least:
        raise InputError(
            f"choosing among {max(config.n)} attempts, but a problem of this exam has {least}",
            "sit the exam with more attempts and the policy `all`, or choose among fewer",
        )
    with locked_folder(folder, BUSY):
        identity = select_identity(results, completer.name, config, sandbox is not None)
        check_choices(folder, identity)
        kept = ChoicesFolder(folder)
        write_json(kept.claim, identity)
        choices = await _make_choices(results, sizes, completer, config, kept.choices, sandbox, concurrency, told)
        asked, invalid = sum(choice.asked for choice in choices), sum(choice.invalid for choice in choices)
        if asked and asked == invalid:
            raise InputError(
                f"{completer.name} named no solution in {asked} tries",
                "a selector ends with `Judgment: IDX`, or boxes an answer: take a model trained to, or more max_tokens",
            )
        scores = score_choices(choices)
        write_json(kept.scores, [score.model_dump() for score in scores])
        return scores


async def _make_choices(
    results: Sequence[ExamResult],
    sizes: Sequence[int],
    completer: Completer,
    config: SelectConfig,
    path: Path,
    sandbox: CodeSandbox | None,
    concurrency: int,
    told: Told | None,
) -> list[Choice]:
    """The choices from every set of attempts, those that are in the journal `path` already among them."""
    drop_torn_line(path)
    done = {(row.problem_id, row.n, row.attempts): row for row in read_rows(path, Choice)} if path.exists() else {}
    sets = [(result, n, chosen) for n in sizes for result in results for chosen in _sets(result, n)]
    waiting = iter([each for each in sets if _key(each) not in done])
    with Journal(path, Choice) as journal:

        async def work() -> None:
            for result, n, attempts in waiting:
                choice = await _choose(result, n, attempts, completer, config, sandbox)
                journal.append(choice)
                done[_key((result, n, attempts))] = choice
                if told is not None:
                    told(len(done), len(sets))

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [done[_key(each)] for each in sets]


def _key(each: tuple[ExamResult, int, tuple[Attempt, ...]]) -> tuple[str, int, tuple[int, ...]]:
    result, n, attempts = each
    return result.problem.id, n, tuple(attempt.index for attempt in attempts)


def select_identity(results: Sequence[ExamResult], judge: str, config: SelectConfig, code: bool) -> dict[str, Any]:
    """What makes these choices these choices, as `select.json` holds it; `judge`: the completer's name."""
    rows = "\n".join(result.model_dump_json() for result in results)
    return {
        "judge": judge,
        "code": code,
        "problems": {
            "count": len(results),
            "source": ", ".join(sorted({result.problem.source for result in results})),
            "digest": hashlib.blake2b(rows.encode(), digest_size=16).hexdigest(),
        },
        "config": identity_of(config),
    }


def check_choices(folder: Path | str, identity: Mapping[str, Any]) -> None:
    """Refuse a folder in which other choices were made. Changes nothing.

    Raises:
        InputError: names every setting that differs, with both values.
    """
    kept = ChoicesFolder(Path(folder))
    if kept.is_begun():
        refuse_other(kept.claim, identity, "choice", "choose")


def _sets(result: ExamResult, n: int) -> Iterator[tuple[Attempt, ...]]:
    """The sets of n attempts, by index, that share none; all attempts where there are no more than n."""
    attempts = sorted(result.attempts, key=lambda attempt: attempt.index)
    for start in range(0, max(1, len(attempts) - n + 1), n):
        yield tuple(attempts[start : start + n])


async def _choose(
    result: ExamResult,
    n: int,
    attempts: tuple[Attempt, ...],
    completer: Completer,
    config: SelectConfig,
    sandbox: CodeSandbox | None,
) -> Choice:
    part = result.model_copy(update={"attempts": attempts})
    candidates = candidates_of(part)
    sampling = Sampling(max_tokens=config.max_tokens, temperature=config.temperature, top_p=config.top_p)
    chosen = await select(
        result.problem,
        candidates,
        completer,
        repeats=config.repeats,
        most=config.most,
        named=config.named,
        characters=config.characters,
        sandbox=sandbox,
        sampling=sampling,
        seed=config.seed + attempts[0].index if attempts else config.seed,
    )
    right = {attempt.index: attempt.verdict is Verdict.CORRECT for attempt in attempts}
    vote = await asyncio.to_thread(majority, result.problem, ballots(attempts), weights=weigh(attempts, config.vote))
    vote_score = _score(vote, right)
    voices = {index: 1 / len(attempts) + chosen.picks.count(index) / max(1, len(chosen.picks)) for index in right}
    both = await asyncio.to_thread(majority, result.problem, ballots(attempts), weights=voices)
    nothing = chosen.answer is None  # no pick: the vote stands
    return Choice(
        problem_id=result.problem.id,
        n=n,
        attempts=tuple(attempt.index for attempt in attempts),
        candidates=len(candidates),
        asked=chosen.asked,
        picks=chosen.picks,
        invalid=chosen.invalid,
        answer=vote.answer if nothing else chosen.answer,
        score=vote_score if nothing else _score(chosen.vote, dict(enumerate(right[index] for index in chosen.picks))),
        vote=vote.answer,
        vote_score=vote_score,
        both_score=_score(both, right),
        single=sum(right.values()) / len(right) if right else 0.0,
        passed=any(right.values()),
    )


def _score(vote: Vote, right: Mapping[int, bool]) -> float:
    """Mean over the classes that share the lead; a class is right when one of its voters is."""
    leaders = vote.leaders
    return sum(any(right[index] for index in entry.attempts) for entry in leaders) / len(leaders) if leaders else 0.0


def score_choices(choices: Sequence[Choice]) -> list[SelectionScore]:
    """One score per n, in the order in which they come. The problem is the statistical unit."""
    by_n: dict[int, dict[str, list[Choice]]] = defaultdict(lambda: defaultdict(list))
    for choice in choices:
        by_n[choice.n][choice.problem_id].append(choice)
    scores = []
    for n, problems in by_n.items():
        rows = list(problems.values())
        single, vote, picked, both, passed = (
            [sum(measure(choice) for choice in row) / len(row) for row in rows] for measure in _MEASURES
        )
        gains = [one - other for one, other in zip(picked, vote, strict=True)]
        gain = paired_bootstrap(gains) if len(gains) > 1 else None
        scores.append(
            SelectionScore(
                n=n,
                problems=len(rows),
                sets=sum(map(len, rows)),
                single=estimate(single),
                vote=estimate(vote),
                select=estimate(picked),
                both=estimate(both),
                passed=estimate(passed),
                gain=sum(gains) / len(gains),
                gain_low=gain.low if gain else -1.0,
                gain_high=gain.high if gain else 1.0,
                p=sign_flip_test(gains),
                asked=sum(choice.asked for row in rows for choice in row),
                invalid=sum(choice.invalid for row in rows for choice in row),
            )
        )
    return scores


_MEASURES: tuple[Callable[[Choice], float], ...] = (
    lambda choice: choice.single,
    lambda choice: choice.vote_score,
    lambda choice: choice.score,
    lambda choice: choice.both_score,
    lambda choice: float(choice.passed),
)
