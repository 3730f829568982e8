"""The policy lab: how fast recorded exams are replayed, and what fitted policies are worth on problems they never saw.

    python benchmarks/policy_lab.py [--fit 400] [--held-out 2000] [--seed 2] [--budget 360 --budget 120]

Simulated problems (podium.solve.lab.simulated), 12 attempts each, exams of 50. Every family is fitted to one set of
problems and sits exams drawn from another one. The winner's policy sits with the budget; the others with no more than
the time it took. Intervals are those of the mean over the held-out problems, paired.
"""

from __future__ import annotations

import argparse
import time

from podium.solve import parse_policy
from podium.solve.lab import Bench, compare, hold_exams
from podium.solve.lab.search import FAMILIES
from podium.solve.lab.simulated import simulated_problems
from podium.solve.rules import Plan

LENGTH = 50
EXAMS = 400
BUDGETS = (360, 240, 180, 120)  # seconds per problem; the contest's is 360


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=int, default=400)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2, help="of the problems that are judged on")
    parser.add_argument("--budget", type=int, action="append", help="seconds per problem (default: four of them)")
    options = parser.parse_args()
    bench = Bench(simulated_problems(options.fit, 12, seed=1))
    unseen = Bench(simulated_problems(options.held_out, 12, seed=options.seed))
    winner = parse_policy("winner")

    begun = time.perf_counter()
    hold_exams(unseen, winner, budget=360.0 * LENGTH, length=LENGTH, exams=1)
    for problem in range(len(unseen.problems)):
        unseen.outcome(problem, 0, winner, Plan(12))
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    hold_exams(unseen, winner, budget=360.0 * LENGTH, length=LENGTH, exams=1000)
    again = time.perf_counter() - begun
    print(f"replay: {1e3 * first / len(unseen.problems):.3f} ms per problem the first time; ", end="")
    print(f"1000 exams of {LENGTH} problems in {again:.2f} s after that")

    print(f"\nfitted to {options.fit} problems, judged on {options.held_out} others (seed {options.seed}); ", end="")
    print(f"problems right of {LENGTH}\n")
    print(f"{'budget':>7}  {'winner':>16}  " + "".join(f"{family:>34}" for family in FAMILIES))
    for seconds in options.budget or BUDGETS:
        reference = hold_exams(unseen, winner, budget=float(seconds * LENGTH), length=LENGTH, exams=EXAMS)
        cells = []
        for fit in FAMILIES.values():
            policy = fit(bench, list(range(options.fit)), reference.time / LENGTH)
            held = hold_exams(unseen, policy, budget=reference.time, length=LENGTH, exams=EXAMS)
            against = compare(held, reference)
            half = LENGTH * (against.high - against.low) / 2
            gain = f"{LENGTH * against.difference:+.2f} ± {half:.2f}"
            cells.append(f"{LENGTH * held.score:6.2f} in {held.time / LENGTH:5.1f} s: {gain}")
        print(
            f"{seconds:5} s  {LENGTH * reference.score:6.2f} in {reference.time / LENGTH:5.1f} s"
            + "".join(f"{cell:>34}" for cell in cells),
            flush=True,
        )


if __name__ == "__main__":
    main()
