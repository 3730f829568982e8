"""What guessing tokens ahead gains on a model's own TIR text, at 1, 4 and 12 attempts per problem.

    python benchmarks/speculation.py --model runs/demo/merge/model --data runs/demo/exam_merged/attempts.jsonl \\
        --draft runs/demo/draft

Problems are answered one after the other, each by so many attempts at once, sampled as at an exam; where a model stops
for its code, the output of the row's own attempt is appended. All ways of guessing run in turn, round after round, each
with a new engine that has seen nothing; the rates are the medians over rounds of the ratio to the way without guesses
in the same round, by wall time and by CPU time (on a busy machine only the latter means something). That every
completion has the same tokens in every way is checked: on an engine that is invariant a difference ends the benchmark,
elsewhere it is counted (products over more rows round differently, and now and then that decides a draw).
"""

from __future__ import annotations

import podium  # noqa: F401  # before torch: it says how waiting threads wait

# isort: split
import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from podium.answering import Sampling
from podium.compress import load_draft
from podium.generate import Engine
from podium.generate.drafters import guesser
from podium.generate.guess import DraftRequest
from podium.generate.speculate import Adaptive, Fixed, Proposer
from podium.models import Transformer, load_model
from podium.records import Attempt
from podium.storage import read_rows
from podium.text import Tokenizer

STOP = "</tool_call>"


@dataclass
class Counting:
    """A proposer whose guesses are counted."""

    proposer: Proposer
    steps: int = 0  # of a completion
    tokens: int = 0
    guesses: int = 0
    three: int = 0  # times that three guesses or more were made …
    all_right: int = 0  # … and that the first three were right
    open: list[tuple[Sequence[int], int, int]] = field(default_factory=list)  # text, its length, guesses

    @property
    def taps(self) -> tuple[int, ...]:
        return self.proposer.taps

    def rests(self, rows: int) -> bool:
        resting = self.proposer.rests(rows)
        self._close()
        # Such a step gives every completion one token.
        self.steps += rows * resting
        self.tokens += rows * resting
        return resting

    def expect(self, seconds: Sequence[float]) -> None:
        self.proposer.expect(seconds)

    def propose(self, requests: Sequence[DraftRequest], states: Tensor | None, budget: int) -> list[list[int]]:
        chains = self.proposer.propose(requests, states, budget)
        self.open = [
            (request.tokens, len(request.tokens), len(chain)) for request, chain in zip(requests, chains, strict=True)
        ]
        return chains

    def timed(self, rows: int, seconds: float, tokens: int) -> None:
        self.proposer.timed(rows, seconds, tokens)

    def _close(self) -> None:
        for text, before, guesses in self.open:
            new = min(len(text) - before, guesses + 1)
            self.steps += 1
            self.tokens += new
            self.guesses += guesses
            self.three += guesses >= 3
            self.all_right += guesses >= 3 and new > 3
        self.open = []


@dataclass(frozen=True)
class Outcome:
    tokens: list[tuple[int, ...]]
    wall: float
    cpu: float


async def answer_all(engine: Engine, problems: list[list[Attempt]], sampling: Sampling) -> Outcome:
    async def attempt(row: Attempt, seed: int) -> tuple[int, ...]:
        outputs = [part.text for part in row.parts if part.role == "tool"]
        completion = await engine.start(row.prompt, replace(sampling, seed=seed))
        tokens: list[int] = []
        while True:
            finish = None
            async for piece in completion:
                tokens += piece.tokens
                finish = piece.finish
            if finish != "stop":
                break
            await completion.extend(outputs.pop(0) if outputs else "\n```output\n1\n```\n")
        await completion.cancel()
        return tuple(tokens)

    wall, cpu = time.perf_counter(), time.process_time()
    said: list[tuple[int, ...]] = []
    for number, rows in enumerate(problems):
        said += await asyncio.gather(*(attempt(row, 1000 * number + i) for i, row in enumerate(rows)))
    return Outcome(said, time.perf_counter() - wall, time.process_time() - cpu)


def run(
    model: Transformer,
    tokenizer: Tokenizer,
    proposer: Proposer | None,
    problems: list[list[Attempt]],
    sampling: Sampling,
    options: argparse.Namespace,
) -> tuple[Outcome, Engine]:
    engine = Engine(
        model,
        tokenizer,
        max_rows=16,
        memory_bytes=256 << 20,
        threads=options.threads,
        kernel=options.kernel,
        format=options.format,
        proposer=proposer,
    )

    async def all_of_it() -> Outcome:
        try:
            # The first product of a process is slow; a prompt that is in no row.
            completion = await engine.start("warm", Sampling(max_tokens=2))
            async for _ in completion:
                pass
            await completion.cancel()
            return await answer_all(engine, problems, sampling)
        finally:
            await engine.close()

    return asyncio.run(all_of_it()), engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/merge/model"))
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("runs/demo/exam_merged/attempts.jsonl"),
        help="attempts.jsonl of an exam that the model sat",
    )
    parser.add_argument("--draft", type=Path, help="folder of a draft head; without: n-grams only")
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--only", nargs="+", help="these ways of guessing, and the one without")
    parser.add_argument("--format", default=None)
    options = parser.parse_args()

    model, tokenizer = load_model(options.model)
    assert tokenizer is not None
    ways: dict[str, Callable[[], Proposer | None]] = {
        "none": lambda: None,
        "n-gram": lambda: Fixed(guesser(depth=3)),
        "n-gram, siblings only": lambda: Fixed(guesser(depth=3, siblings_only=True)),
        "n-gram, adaptive": lambda: Adaptive(guesser()),
    }
    if options.draft:
        head = load_draft(options.draft, model)
        ways["draft head"] = lambda: Fixed(guesser(head, orders=(), depth=3))
        ways["draft head, adaptive"] = lambda: Adaptive(guesser(head, orders=()))
        ways["both"] = lambda: Fixed(guesser(head))
        ways["both, adaptive"] = lambda: Adaptive(guesser(head))
    if options.only:
        ways = {name: make for name, make in ways.items() if name in ("none", *options.only)}
    by_problem: dict[str, list[Attempt]] = {}
    for row in read_rows(options.data, Attempt):
        by_problem.setdefault(row.problem_id, []).append(row)
    chosen = list(by_problem.values())[: options.problems]
    sampling = Sampling(max_tokens=240, temperature=options.temperature, top_p=0.95, stop=(STOP,))
    print(f"{len(chosen)} problems, temperature {options.temperature:g}, {options.threads} threads")
    print(
        f"{'batch':>5}  {'guesses by':22} {'tok/step':>8} {'all 3':>6} {'guess/step':>10} "
        f"{'tok/s':>7} {'wall x':>7} {'cpu x':>7} {'lowest':>7}  same"
    )
    for batch in options.batches:
        problems = [rows[:batch] for rows in chosen]
        counted: dict[str, Counting] = {}
        wall: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        rate: dict[str, list[float]] = {name: [] for name in ways}
        same: dict[str, int] = {}
        reference: Outcome | None = None
        for round_number in range(options.rounds + 1):
            plain: Outcome | None = None
            for name, make in ways.items():
                proposer = make()
                if not round_number and proposer is not None:
                    proposer = counted[name] = Counting(proposer)
                outcome, engine = run(model, tokenizer, proposer, problems, sampling, options)
                plain = plain or outcome
                reference = reference or outcome
                same[name] = sum(a == b for a, b in zip(outcome.tokens, reference.tokens, strict=True))
                if engine.description.startswith("native") and same[name] < len(reference.tokens):
                    raise SystemExit(f"{name}, batch {batch}: other tokens than without guesses")
                if round_number:  # the first round counts, the others are timed
                    count = sum(map(len, outcome.tokens))
                    plain_count = sum(map(len, plain.tokens))
                    rate[name].append(count / outcome.wall)
                    wall[name].append(count / outcome.wall / (plain_count / plain.wall))
                    cpu[name].append(count / outcome.cpu / (plain_count / plain.cpu))
        assert reference is not None
        for name in ways:
            count = counted.get(name)
            figures = (
                f"{count.tokens / count.steps:8.2f} {count.all_right / max(1, count.three):6.0%} "
                f"{count.guesses / count.steps:10.2f}"
                if count
                else f"{1:8.2f} {'':6} {'':10}"
            )
            print(
                f"{batch:5}  {name:22} {figures} {statistics.median(rate[name]):7.0f} "
                f"{statistics.median(wall[name]):7.2f} {statistics.median(cpu[name]):7.2f} {min(cpu[name]):7.2f}  "
                f"{same[name]}/{len(reference.tokens)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
