"""Run folders with rows of the real shape, for the tests of the report: drawn at random, repeatable."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from podium.records import Attempt, Event, ExamResult, Maker, Message, Part, Problem, Usage, Verdict, VoteClass
from podium.runlog import system_description
from podium.storage import write_json, write_rows

TASKS = ("chain_sum", "products", "gcd", "lcm", "fractions", "base_conversion", "prime_factorization", "countdown")


def attempt(problem: Problem, index: int, draw: random.Random, skill: float, calls: float, code: bool) -> Attempt:
    """One attempt that is right with chance `skill`, and runs code `calls` times on average."""
    gold = int(problem.answer or 0)
    lucky = draw.random()
    answer = str(gold) if lucky < skill else str(gold + draw.choice([-10, 1, 2, 2, 100])) if lucky < 0.97 else None
    count = (1 if draw.random() < calls else 0) + (1 if draw.random() < calls - 1 else 0) if code else 0
    parts = [Part(role="model", text=f"I look at the numbers of attempt {index}.\n")]
    seconds = draw.uniform(0.4, 2.2)
    events = [Event(time=0.01, kind="start")]
    for call in range(count):
        parts.append(Part(role="model", text=f"<tool_call>\nx = {gold} + {call}\nprint(x)\n</tool_call>"))
        parts.append(Part(role="tool", text=f"\n```output\n{gold + call}\n```\n"))
        events.append(Event(time=seconds * 0.5, kind="code"))
    if answer is not None:
        parts.append(Part(role="model", text=f"So the answer is \\boxed{{{answer}}}."))
        events.append(Event(time=seconds, kind="answer", answer=answer))
    events.append(Event(time=seconds, kind="end", answer=answer))
    verdict = Verdict.NO_ANSWER if answer is None else Verdict.CORRECT if answer == problem.answer else Verdict.WRONG
    return Attempt(
        id=f"{problem.id}/{index}",
        problem_id=problem.id,
        style="tir" if code else "cot",
        prompt=(Message(role="user", content=problem.text),),
        parts=tuple(parts),
        answer=answer,
        verdict=verdict,
        maker=Maker(model="demo", sampling={"max_tokens": 256, "temperature": 0.7}),
        usage=Usage(
            prompt_tokens=30,
            completion_tokens=draw.randint(30, 140),
            tool_tokens=6 * count,
            code_calls=count,
            seconds=seconds,
            code_seconds=0.02 * count,
        ),
        index=index,
        stop_reason="length" if answer is None else "eos",
        events=tuple(events),
        tier="A" if count else "",
    )


def settle(problem: Problem, attempts: list[Attempt], pool: float = 100.0) -> ExamResult:
    """The exam's row for these attempts: a plain majority by wording."""
    groups: dict[str, list[int]] = {}
    for one in attempts:
        if one.answer is not None:
            groups.setdefault(one.answer, []).append(one.index)
    votes = sorted(
        (VoteClass(answer=a, count=len(i), weight=len(i), attempts=tuple(i)) for a, i in groups.items()),
        key=lambda vote: -vote.count,
    )
    answer = votes[0].answer if votes else None
    used = max(one.usage.seconds for one in attempts)
    return ExamResult(
        problem=problem,
        attempts=tuple(attempts),
        votes=tuple(votes),
        answer=answer,
        verdict=Verdict.NO_ANSWER if answer is None else Verdict.CORRECT if answer == problem.answer else Verdict.WRONG,
        tie=len(votes) > 1 and votes[0].count == votes[1].count,
        stop_rule="all",
        clock_hit=used > 2.15,
        granted_seconds=4.0,
        used_seconds=used,
        pool_drawn=max(0.0, used - 2.0),
        pool_after=pool,
    )


def exam_rows(problems: int, attempts: int, skill: float, calls: float, code: bool, seed: int) -> list[ExamResult]:
    """An exam; skill varies from problem to problem around `skill`."""
    draw = random.Random(seed)
    rows = []
    for number in range(problems):
        a, b = 1 + 7 * number % 89, 3 + 11 * number % 97
        task = TASKS[number % len(TASKS)]
        problem = Problem(
            id=f"gym-{task}-{number}",
            text=f"Work out {a} * {b} + {number}. Give the number alone, without words or signs around it.",
            answer=str(a * b + number),
            source=f"gym:{task}",
            verifier=f"gym:{task}",
            meta={"task": task},
        )
        level = min(0.99, max(0.01, draw.gauss(skill, 0.28)))
        rows.append(
            settle(problem, [attempt(problem, i, draw, level, calls, code) for i in range(attempts)], 100 - number)
        )
    return rows


EXAMS = {"exam_cot": (0.42, 0.0, False, 1), "exam_tir": (0.84, 1.25, True, 2), "exam_merged": (0.86, 0.8, True, 3)}
CHAIN: dict[str, tuple[str, dict[str, str], float, dict[str, float]]] = {
    "problems": ("problems", {}, 2.4, {"train": 24000, "exam": 50, "shared": 0}),
    "teach_cot": ("teach", {"problems": "problems"}, 21.0, {"kept": 23871, "dropped": 129}),
    "teach_tir": ("teach", {"problems": "problems"}, 38.5, {"kept": 23990, "dropped": 10}),
    "tokenizer": ("tokenizer", {"a": "teach_cot", "b": "teach_tir"}, 1.9, {"vocabulary": 1024}),
    "cot": ("train", {"data": "teach_cot"}, 118.0, {"loss": 0.2134, "steps": 600}),
    "tir": ("train", {"data": "teach_tir", "base": "cot"}, 64.0, {"loss": 0.0987, "steps": 300}),
    "merge": ("merge", {"cot": "cot", "tir": "tir"}, 0.6, {"models": 2}),
    "exam_cot": ("exam", {"model": "cot"}, 31.0, {"score": 0.42}),
    "exam_tir": ("exam", {"model": "tir"}, 36.0, {"score": 0.88}),
    "exam_merged": ("exam", {"model": "merge"}, 33.0, {"score": 0.9}),
}


def make_run(folder: Path, problems: int = 50, attempts: int = 12) -> Path:
    """A finished run of the demo's shape in `folder`."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        "name": folder.name,
        "seed": 0,
        "stages": {n: {"kind": k, "inputs": i} for n, (k, i, _, _) in CHAIN.items()},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    write_json(folder / "system.json", system_description())
    for name, (kind, _, took, metrics) in CHAIN.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        write_json(place / "stage.json", {"identity": name})
        write_json(
            place / "done.json",
            {"identity": name, "kind": kind, "wall_seconds": took, "sessions": 1 + (name == "tir"), "metrics": metrics},
        )
        if kind == "train":
            write_curve(place / "metrics.jsonl", int(metrics["steps"]), seed=len(name))
        if name in EXAMS:
            skill, calls, code, seed = EXAMS[name]
            write_rows(place / "results.jsonl", exam_rows(problems, attempts, skill, calls, code, seed))
    return folder


def write_curve(path: Path, steps: int, seed: int) -> None:
    """A loss curve that falls with noise, with a warm-up and a few evaluations."""
    draw = random.Random(seed)
    with open(path, "w") as file:
        for step in range(1, steps + 1):
            row = {
                "time": step * 0.2,
                "step": step,
                "loss": 4.5 * math.exp(-step / 90) + 0.2 + draw.gauss(0, 0.03),
                "lr": 3e-3 * min(1, step / 40) * (0.55 + 0.45 * math.cos(math.pi * step / steps)),
                "grad_norm": 0.6 + abs(draw.gauss(0, 0.2)),
                "tokens_per_second": 3900 + draw.gauss(0, 150),
                "mfu": 0.66 + draw.gauss(0, 0.01),
            }
            if step % 100 == 0:
                row["eval_loss"] = 4.5 * math.exp(-step / 90) + 0.24
            file.write(json.dumps(row) + "\n")
