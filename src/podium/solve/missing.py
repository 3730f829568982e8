"""Why attempts have no answer, and what to do about it. Reads rows; runs nothing.

A model that was never asked for a box writes its answer in words, and scores 0 %. A page or a table that only says
"0 %" is read as a verdict on the model: where most attempts have no answer, this is said first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podium.grading.extract import extract_answer
from podium.grading.rules import Finder, rules_of
from podium.records import Attempt, Problem
from podium.toolcode import outside_code, written_text

MOST = 0.5  # of the attempts: from here on it is said
_TRIED: tuple[Finder, ...] = ("box", "final", "letter", "number")
_PLACES = {"box": "box", "final": "final answer in words", "letter": "option letter", "number": "number", "all": "text"}
_LONGEST = 20_000  # characters of an attempt that are looked at, from its end
_READ = 200  # attempts that are looked at


def why_unanswered(attempts: Sequence[tuple[Problem, Attempt]]) -> list[str]:
    """What is said of attempts of which most have no answer: how they ended, then a line for each cure. Empty where
    most have one. Attempts that a policy cancelled do not count."""
    counted = [(problem, attempt) for problem, attempt in attempts if attempt.stop_reason != "cancelled"]
    missing = [(problem, attempt) for problem, attempt in counted if attempt.answer is None]
    if not counted or len(missing) <= MOST * len(counted):
        return []
    ends: dict[str, list[tuple[Problem, Attempt]]] = {}
    for problem, attempt in missing:
        ends.setdefault(_end_of(attempt), []).append((problem, attempt))
    order = sorted(ends, key=lambda end: -len(ends[end]))
    told = ", ".join(f"{len(ends[end])} {_ENDS[end]}" for end in order)
    have = "attempt has" if len(counted) == 1 else "attempts have"
    lines = [f"{len(missing)} of {len(counted)} {have} no answer: {told}."]
    for end in order:
        # What is rare explains nothing.
        if len(ends[end]) * 5 >= len(missing):
            lines += _cures(end, ends[end])
    return lines


def without_reference(problems: Sequence[Problem]) -> list[str]:
    """What is said of problems that nothing can be graded by; empty where there are none. Problems of a gym are scored
    by their task."""
    without = sum(problem.verifier == "math" and not problem.answer for problem in problems)
    if not without:
        return []
    have, them = ("problem has", "it") if len(problems) == 1 else ("problems have", "them")
    return [f"{without} of {len(problems)} {have} no reference answer and cannot be right: give {them} an `answer`"]


def _end_of(attempt: Attempt) -> str:
    if attempt.stop_reason in ("length", "eos") and not any(
        part.role == "model" and part.text for part in attempt.parts
    ):
        return "no room" if attempt.stop_reason == "length" else "nothing"
    return attempt.stop_reason if attempt.stop_reason in _ENDS else "eos"


# After a number, which may be 1.
_ENDS = {
    "eos": "ended without one",
    "nothing": "wrote nothing at all",
    "no room": "had no room to write, because the prompt fills the context",
    "length": "cut off at the token limit",
    "repetition": "ended for repeating the same text",
    "clock": "cut off by the clock",
    "code_limit": "asked for more code than allowed",
    "error": "lost to an error of the engine",
}


def _cures(end: str, rows: Sequence[tuple[Problem, Attempt]]) -> list[str]:
    if end == "eos":
        return _elsewhere(rows)
    if end == "length":
        limits = sorted({limit for _, row in rows if isinstance(limit := row.maker.sampling.get("max_tokens"), int)})
        written = max(row.usage.completion_tokens for _, row in rows)
        if limits and written < limits[0]:
            return [f"cure: the model's context is full after {written:,} tokens: shorten the prompt, or take another"]
        now = f" (now {', '.join(f'{limit:,}' for limit in limits)})" if limits else ""
        return [f"cure: let attempts write more: --max-tokens N{now}; in a recipe max_tokens"]
    return {
        "nothing": [
            "cure: ask in the model's own form: --system TEXT, --prompt FILE, or a folder with a chat template"
        ],
        "no room": ["cure: a shorter --prompt or --system, or a model with a longer context"],
        "repetition": ["cure: ask for an answer (--prompt boxed), or draw more freely (--temperature 0.7 or above)"],
        "clock": ["cure: a longer --budget, or fewer attempts (-n)"],
        "code_limit": ["cure: a profile with more code calls (--profile eval), or --no-code"],
        "error": ["cure: see the engine's or the server's log"],
    }[end]


def _elsewhere(rows: Sequence[tuple[Problem, Attempt]]) -> list[str]:
    """Where else these attempts may have their answers, and how to ask for one in a box."""
    looked = rows[:_READ]
    lines = []
    for place in _TRIED:
        found = [
            answer
            for problem, attempt in looked
            if place not in (rules := rules_of(problem)).find
            and (answer := extract_answer(_text_of(attempt), replace(rules, find=(place,)))) is not None
        ]
        if len(found) * 2 >= len(looked):
            lines.append(
                f"cure: a {_PLACES[place]} that was not looked for stands in {len(found)} of {len(looked)}: --extract "
                f"{_extraction(looked[0][0], place)}; in a recipe extract"
            )
            break
    versions = {attempt.maker.prompt_version.partition("+")[0] for _, attempt in rows}
    if versions <= {"plain", ""}:
        lines.append("cure: the problem alone was asked: --prompt boxed asks for a box; in a recipe prompt: boxed")
    elif not lines:
        lines.append(
            "cure: the prompt asks for no box that is kept: see an attempt in the report, and try --prompt FILE"
        )
    return lines


def _extraction(problem: Problem, place: Finder) -> str:
    return ",".join("boxed" if each == "box" else each for each in (*rules_of(problem).find, place))


def _text_of(attempt: Attempt) -> str:
    return outside_code(written_text(attempt.parts)[-_LONGEST:])
