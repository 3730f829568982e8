"""reasoning-gym's own scorers, fed from what `podium.problems` stored. Runs only inside a worker process."""

from __future__ import annotations

import functools
import json
import re
from typing import Any


def score(request: dict[str, Any]) -> float:
    """The task's own score (1.0: correct) for `answer` to the stored entry; nothing is generated anew.

    Two scorers are made stricter. puzzle24's accepts any four numbers that make 24, not only the given ones;
    rush_hour's passes over moves that are not possible.
    """
    from podium.problems.gym import decode
    from podium.problems.reference import are_legal_moves

    entry = {"question": request["question"], "answer": request["gold"], "metadata": decode(request["metadata"])}
    dataset = _dataset(request["task"], json.dumps(request["options"], sort_keys=True))
    if request["task"] == "puzzle24":
        used = sorted(int(number) for number in re.findall(r"\d+", request["answer"]))
        if used != sorted(entry["metadata"]["numbers"]):
            return 0.0
    if request["task"] == "rush_hour" and not are_legal_moves(entry["metadata"]["board_config"], request["answer"]):
        return 0.0
    return float(dataset.score_answer(answer=request["answer"], entry=entry))


@functools.lru_cache(maxsize=256)
def _dataset(task: str, options: str) -> Any:
    from podium.problems.gym import decode, make_dataset

    return make_dataset(task, {**decode(json.loads(options)), "seed": 0, "size": 1})
