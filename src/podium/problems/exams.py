"""Known exams: which file, which fields, which rule of grading; and the Hugging Face ids they can be had from.

Knows the formats of the exam files, nothing of models or grading beyond the name of the verifier. Contest texts keep
their authors' rights: none is shipped with Podium.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.errors import InputError, nearest
from podium.problems.rows import ANSWER_FIELDS, ID_FIELDS, problem_of
from podium.records import Problem
from podium.storage import iterate_objects


@dataclass(frozen=True, slots=True)
class Exam:
    """Where an exam is found and how it is graded. `files` are names (without ending) tried in turn; `prefix` picks its
    rows by id out of the joint file comp_math_24_25; `hub` is (dataset id, config, split); `rules` go to the
    `meta["rules"]` of every problem (see podium.grading.Rules)."""

    files: tuple[str, ...]
    verifier: str = "math"
    prefix: str = ""
    hub: tuple[str, str | None, str] | None = None
    rules: dict[str, Any] = field(default_factory=dict)


_COMP = "comp_math_24_25"
_AIME = {"low": 0, "high": 999}
_GSM8K = {"find": ["box", "final"]}  # its solutions end with "#### 5"; models say "the answer is 5" too
EXAMS: dict[str, Exam] = {
    "aime24": Exam(("aime24", _COMP), "integer", "aime24-", ("HuggingFaceH4/aime_2024", None, "train"), _AIME),
    "aime25": Exam(("aime25", _COMP), "integer", "aime25-", ("math-ai/aime25", None, "test"), _AIME),
    "aime_1983_2023": Exam(("aime_1983_2023",), "integer", rules=_AIME),
    "hmmt_nov_2024": Exam((_COMP,), "math", "hmmt_N_2024_"),
    "hmmt_feb_2024": Exam((_COMP,), "math", "hmmt_F_2024_"),
    "hmmt_feb_2025": Exam((_COMP,), "math", "hmmt_F_2025_", ("MathArena/hmmt_feb_2025", None, "train")),
    "hmmt_24_25": Exam((_COMP,), "math", "hmmt_"),
    _COMP: Exam((_COMP,)),
    "math500": Exam(("math500",), hub=("HuggingFaceH4/MATH-500", None, "test")),
    "math_train": Exam(("math_train",)),
    "gsm8k": Exam(("gsm8k_test", "gsm8k"), hub=("openai/gsm8k", "main", "test"), rules=_GSM8K),
    "gsm8k_train": Exam(("gsm8k_train",), hub=("openai/gsm8k", "main", "train"), rules=_GSM8K),
    "amc23": Exam(("amc23",), hub=("math-ai/amc23", None, "test")),
    "aimo2_reference": Exam(("aimo2_reference",), "integer", rules={"modulo": 1000}),
}
_ENDINGS = (".jsonl", ".jsonl.zst", ".parquet")


def load_exam(name: str, data: Path | None) -> list[Problem]:
    """The problems of an exam, from the data folder, else from the Hugging Face hub.

    Raises:
        InputError: unknown exam, exam not at hand, or a row without problem or answer.
    """
    exam = EXAMS.get(name)
    if exam is None:
        a_file = Path(name).is_file()
        cure = f"it is a file: give it as jsonl:{name}" if a_file else nearest(name, EXAMS)
        raise InputError(f"exam:{name}: no such exam", cure)
    folder = data or (Path(os.environ["PODIUM_DATA"]) if os.environ.get("PODIUM_DATA") else None)
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: not a folder", "give the folder that holds the exam files")
    if folder is not None:
        for stem in exam.files:
            for ending in _ENDINGS:
                path = folder / f"{stem}{ending}"
                if path.exists():
                    rows = ((f"{path}:{number}", value) for number, value in iterate_objects(path))
                    return list(_problems(name, exam, rows, exam.prefix if stem == _COMP else ""))
    return list(_problems(name, exam, _from_hub(name, exam, folder), ""))


def _from_hub(name: str, exam: Exam, folder: Path | None) -> Iterator[tuple[str, Any]]:
    looked = f"not in {folder}" if folder else "no data folder was given"
    place = f"put {exam.files[0]}.jsonl into a folder and name it with --data or PODIUM_DATA"
    if exam.hub is None:
        raise InputError(f"exam:{name}: {looked}", place)
    identifier, config, split = exam.hub
    if importlib.util.find_spec("datasets") is None:
        raise InputError(
            f"exam:{name}: {looked}, and the package `datasets` is not installed",
            f"in a clone of Podium: pip install -e '.[hub]'; or {place}",
        )
    import datasets  # pyright: ignore[reportMissingImports]  # of the extra `hub`

    try:
        rows = datasets.load_dataset(identifier, config, split=split)
    except Exception as error:  # the hub client has many kinds of failure, all of which end the same way here
        raise InputError(
            f"exam:{name}: {looked}, and {identifier} could not be had from the Hugging Face hub ({error})", place
        ) from error
    for number, row in enumerate(rows, start=1):
        yield f"{identifier}:{number}", row


def _problems(name: str, exam: Exam, rows: Iterable[tuple[str, Any]], prefix: str) -> Iterator[Problem]:
    found = False
    for number, (where, row) in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{where}: not an object", "each line must be one JSON object")
        if not str(row.get("id", "")).startswith(prefix):
            continue
        found = True
        yield exam_problem(name, number, where, row, exam.verifier, exam.rules)
    if not found:
        raise InputError(f"exam:{name}: the file holds no problem of it", "check the data folder")


def exam_problem(
    name: str, number: int, where: str, row: dict[str, Any], verifier: str, rules: dict[str, Any] | None = None
) -> Problem:
    """One row of an exam file, in any form that `podium.problems.rows` reads.

    Raises:
        InputError: no problem text or no answer in the row.
    """
    default = f"{name}-{number}"
    problem = problem_of(row, where, default)
    # An empty answer stays (MATH's training part holds one): its verdict is undecided.
    if problem.answer is None and all(row.get(field) is None for field in ANSWER_FIELDS):
        raise InputError(f"{where}: no answer", f"one of the fields {', '.join(ANSWER_FIELDS)} must hold it")
    return problem.model_copy(
        update={
            "id": default if any(type(row.get(field)) is int for field in ID_FIELDS) else problem.id,
            "source": f"exam:{name}",
            "verifier": verifier,
            "meta": problem.meta
            | ({"source": row["source"]} if row.get("source") is not None else {})
            | ({"rules": rules} if rules else {}),
        }
    )
