"""Rows as people have them: problems and worked solutions in the forms that public data sets use.

A form is recognised by its field names, row by row; `FORMS` lists them for the documentation and for error messages.
Knows records and how an answer is found in a solution; no model, no exam. Podium's own rows are read strictly, so that
a misspelt field is an error there; of the other forms only the fields named here are used.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from podium.boxes import answer_in, last_box
from podium.errors import InputError
from podium.records import Attempt, Maker, Message, Problem, Solution
from podium.storage import iterate_objects, parse_row
from podium.toolcode import OPEN_TAG, parts_of

TEXT_FIELDS = ("problem", "question", "text", "instruction", "prompt")
ANSWER_FIELDS = ("expected_answer", "answer", "final_answer", "gold")
SOLUTION_FIELDS = ("solution", "generated_solution", "response", "completion", "output")
ID_FIELDS = ("id", "unique_id", "problem_id")
_CHAT_FIELDS = ("messages", "conversations")
_OWN_SOLUTION = ("parts",)
_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "developer": "system",
}
_KEPT = ("subset_for_metrics", "domain", "level", "subject", "type", "year", "difficulty", "url")

FORMS = (
    ("Podium's own", "a problem: id, text; a solution: id, problem_id, style, prompt, parts, maker", "see records.py"),
    ("question and answer", f"one of {', '.join(TEXT_FIELDS)}", f"one of {', '.join(ANSWER_FIELDS)}; id"),
    ("problem and solution", f"one of {', '.join(TEXT_FIELDS)}; one of {', '.join(SOLUTION_FIELDS)}", "an answer; id"),
    ("chat", "messages: a list of {role, content}; the roles are system, user and assistant", "an answer; id"),
    ("chat in two halves", "prompt and completion, each a list of {role, content}", "an answer; id"),
)
"""(name, fields that are needed, fields that may be there) of every form that is read."""

_NEEDED = {
    "problem": "a problem needs its text in one of the fields "
    f"{', '.join(TEXT_FIELDS)}, or `messages` with one user turn; it may have an answer in one of "
    f"{', '.join(ANSWER_FIELDS)}, a worked solution in one of {', '.join(SOLUTION_FIELDS)}, and an id",
    "solution": "a row to train on needs `messages` that end with the assistant's turn, or a problem in one of "
    f"{', '.join(TEXT_FIELDS)} and what the model is to write in one of {', '.join(SOLUTION_FIELDS)} or "
    f"{', '.join(ANSWER_FIELDS)}; an id may be there",
}


def read_problems(path: Path | str) -> list[Problem]:
    """All problems of a .jsonl, .jsonl.zst or .parquet file, in any of `FORMS`.

    Raises:
        InputError: missing or damaged file, or a row that is no problem, as file:line with what a problem needs.
    """
    path = Path(path)
    return [problem_of(row, f"{path}:{number}", f"{_stem(path)}-{number}") for number, row in iterate_objects(path)]


def iterate_solutions(paths: Path | str | Iterable[Path | str]) -> Iterator[Solution]:
    """The solutions of one or several files, in any of `FORMS`: what a model is to learn to write, one by one.

    A chat gives a solution for every turn of the assistant, with the turns before it as its prompt; a turn that says
    `"weight": 0` is not learnt.

    Raises:
        InputError: missing or damaged file, or a row without something to learn, as file:line.
    """
    for path in [Path(paths)] if isinstance(paths, str | Path) else [Path(each) for each in paths]:
        for number, row in iterate_objects(path):
            yield from solutions_of(row, f"{path}:{number}", f"{_stem(path)}-{number}")


def problem_of(row: Any, where: str, default_id: str) -> Problem:
    """The problem that a row states.

    The answer is what the answer field holds, or the last box of the worked solution; a chat's reply is such a
    solution. Without either the problem has no answer, and attempts at it stay undecided.

    Raises:
        InputError: the row states no problem; the message names `where`.
    """
    row = _whole(row, where, "problem")
    if _is_own_problem(row):
        problem = parse_row(Problem, row, where)
        if problem.answer is None or problem.verifier.partition(":")[0] not in ("math", "integer", "letter"):
            return problem
        return problem.model_copy(update={"answer": read_gold(problem.answer)})
    solution = _text(row, SOLUTION_FIELDS, where)
    if _chat_field(row) is not None and not _has(row, TEXT_FIELDS):
        turns = [message for message, _ in _turns(row, where)]
        users = [turn for turn in turns if turn.role == "user"]
        if len(users) != 1:
            raise InputError(f"{where}: a chat with {len(users)} user turns is no single problem", _NEEDED["problem"])
        text = users[0].content
        replies = [turn.content for turn in turns if turn.role == "assistant"]
        solution = solution or (replies[-1] if replies else None)
    else:
        text = _question(row, where, "problem")
    gold = next((row[name] for name in ANSWER_FIELDS if row.get(name) is not None), None)
    answer = read_gold(gold) if gold is not None else last_box(solution or "")
    return Problem(
        id=_id(row, default_id),
        text=text,
        answer=answer or None,
        source=str(row.get("source") or ""),
        meta={name: row[name] for name in _KEPT if row.get(name) is not None},
    )


def solutions_of(row: Any, where: str, default_id: str) -> Iterator[Solution]:
    """The solutions of one row; see `iterate_solutions`.

    Raises:
        InputError: the row holds nothing that a model could learn to write; the message names `where`.
    """
    row = _whole(row, where, "solution")
    if any(name in row for name in _OWN_SOLUTION):
        yield parse_row(Attempt if "index" in row else Solution, row, where)
        return
    identifier = _id(row, default_id)
    if _chat_field(row) is not None:
        turns = _turns(row, where)
        learnt = [place for place, (turn, weight) in enumerate(turns) if turn.role == "assistant" and weight]
        if not learnt:
            raise InputError(f"{where}: no turn of the assistant to learn from", _NEEDED["solution"])
        for count, place in enumerate(learnt):
            prompt = tuple(turn for turn, _ in turns[:place])
            name = identifier if len(learnt) == 1 else f"{identifier}-{count + 1}"
            yield _solution(name, prompt, turns[place][0].content, where)
        return
    question = _question(row, where, "solution")
    written = _text(row, SOLUTION_FIELDS, where)
    if written is None:
        written = _text(row, ANSWER_FIELDS, where)
    if written is None:
        raise InputError(f"{where}: a problem without anything to learn to write", _NEEDED["solution"])
    context = row.get("input")  # the instruction format keeps what the instruction is about apart
    if "instruction" in row and isinstance(context, str) and context.strip():
        question = f"{question}\n\n{context}"
    yield _solution(identifier, (Message(role="user", content=question),), written, where)


def _solution(identifier: str, prompt: tuple[Message, ...], text: str, where: str) -> Solution:
    if not text.strip():
        raise InputError(f"{where}: the reply to learn is empty", _NEEDED["solution"])
    if not prompt:
        raise InputError(f"{where}: the assistant's turn has no turn before it", _NEEDED["solution"])
    asked = "\0".join(message.content for message in prompt)
    return Solution(
        id=identifier,
        problem_id=hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()[:16],
        style="tir" if OPEN_TAG in text else "cot",
        prompt=prompt,
        parts=parts_of(text),
        answer=last_box(text),
        maker=Maker(model="given"),
    )


def _turns(row: dict[str, Any], where: str) -> list[tuple[Message, float]]:
    """The turns of a chat with their weights in training (1 where none is given)."""
    field = _chat_field(row)
    turns: list[tuple[Message, float]] = []
    for place, turn in enumerate(row[field] if field else ()):
        spot = f"{where}: field '{field}.{place}'"
        if not isinstance(turn, dict):
            raise InputError(f"{spot}: not an object", "a turn is {role, content}")
        given = turn.get("role", turn.get("from"))
        role = _ROLES.get(str(given))
        if role is None:
            raise InputError(f"{spot}: the role {given!r} is not read", "roles are system, user and assistant")
        weight = turn.get("weight", 1)
        if not isinstance(weight, int | float):
            raise InputError(f"{spot}: weight {weight!r} is no number", "leave it out, or give 0 or 1")
        turns.append((Message(role=role, content=_content(turn.get("content", turn.get("value")), spot)), weight))
    return turns


def _content(content: Any, spot: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise InputError(f"{spot}: the content is not text", 'write it as text, or as parts {"type": "text", "text": …}')


def _is_own_problem(row: dict[str, Any]) -> bool:
    """Whether the row is a Problem as Podium writes it, a field perhaps misspelt; others may have a `meta` as well."""
    strange = row.keys() - Problem.model_fields.keys()
    misspelt = any(difflib.get_close_matches(name, Problem.model_fields, n=1, cutoff=0.8) for name in strange)
    return "verifier" in row or ({"id", "text", "meta"} <= row.keys() and (misspelt or not strange))


def read_gold(value: Any) -> str:
    """The answer itself: of a whole solution its last box, or what follows `####`; 27.0 is the integer 27."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return answer_in(str(value)).strip()


def _chat_field(row: dict[str, Any]) -> str | None:
    return next((name for name in _CHAT_FIELDS if isinstance(row.get(name), list)), None)


def _question(row: dict[str, Any], where: str, wanted: str) -> str:
    text = _text(row, TEXT_FIELDS, where)
    if text is None or not text.strip():
        found = ", ".join(sorted(row)[:12]) or "none"
        raise InputError(f"{where}: no problem text; the row's fields are: {found}", _NEEDED[wanted])
    return text.strip()


def _text(row: dict[str, Any], names: tuple[str, ...], where: str) -> str | None:
    """The first of the named fields that is there; numbers are written out."""
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError(f"{where}: field {name!r} holds {type(value).__name__}, not text", "write it as text")
        return value if isinstance(value, str) else read_gold(value)
    return None


def _has(row: dict[str, Any], names: tuple[str, ...]) -> bool:
    return any(row.get(name) is not None for name in names)


def _id(row: dict[str, Any], default: str) -> str:
    given = next((row[name] for name in ID_FIELDS if row.get(name) is not None), None)
    return default if given is None or str(given).strip() == "" else str(given)


def _whole(row: Any, where: str, wanted: str) -> dict[str, Any]:
    """The row, with a chat that is given as prompt and completion put together."""
    if not isinstance(row, dict):
        raise InputError(f"{where}: not an object", _NEEDED[wanted])
    halves = (row.get("prompt"), row.get("completion"))
    if isinstance(halves[0], list) and isinstance(halves[1], list):
        rest = {name: value for name, value in row.items() if name not in ("prompt", "completion")}
        return {**rest, "messages": halves[0] + halves[1]}
    return row


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]
