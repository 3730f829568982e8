"""The inside of a rehearsal: a process of its own that runs an entry's script the way the contest's machine would.

`python -m podium.contest.entry SCRIPT MODULE:SERVER …` puts a stand-in for the organiser's package in place, with those
modules and the server classes in them, sets KAGGLE_IS_COMPETITION_RERUN, runs the script, and serves its `predict` from
a pipe: one JSON line per problem in, one per answer out. What the script prints goes to standard error. Imports nothing
of Podium: an entry may use another one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import sys
import traceback
from types import ModuleType
from typing import Any


class Frame:
    """The little of a polars DataFrame or Series that entries use, where polars is not installed."""

    def __init__(self, data: Any = None, *_: Any, **__: Any) -> None:
        columns = data if isinstance(data, dict) else {"": data}
        self.data = {
            name: list(value) if isinstance(value, list | tuple) else [value] for name, value in columns.items()
        }

    @property
    def columns(self) -> list[str]:
        return list(self.data)

    def item(self, row: int = 0, column: int | str = 0) -> Any:
        name = column if isinstance(column, str) else self.columns[column]
        return self.data[name][row]

    def get_column(self, name: str) -> Frame:
        return Frame({name: self.data[name]})

    def __getitem__(self, key: int | str) -> Any:
        return self.get_column(key) if isinstance(key, str) else self.item(key)

    def __len__(self) -> int:
        return max(map(len, self.data.values()), default=0)


class InferenceServer:
    """Stands for the organiser's: serves the function it is given."""

    served = False

    def __init__(self, predict: Any) -> None:
        self.predict = predict

    def serve(self) -> None:
        InferenceServer.served = True
        serve(self.predict)

    def run_local_gateway(self, *_: Any, **__: Any) -> None:
        self.serve()


def answer_in(value: Any) -> Any:
    """What an entry's return value says: a frame's `answer`, a dictionary's, or the value itself."""
    for read in (
        lambda: value["answer"],
        lambda: value.get_column("answer"),
    ):
        try:
            found = read()
        except Exception:
            continue
        for unpack in (lambda cell: cell.item(0), lambda cell: cell.iloc[0], lambda cell: cell[0]):
            try:
                return unpack(found)
            except Exception:
                continue
        return found
    return value.item() if hasattr(value, "item") else value


def serve(predict: Any) -> None:
    """Answer every problem that comes through the pipe, until it ends."""
    import polars as pl  # the real one, or Frame  # pyright: ignore[reportMissingImports]

    send({"ready": True})
    for line in problems:
        problem = json.loads(line)
        try:
            value = predict(pl.DataFrame({"id": [problem["id"]]}), pl.DataFrame({"question": [problem["question"]]}))
            answer = answer_in(value)
            send({"answer": answer if isinstance(answer, int | float | str) or answer is None else str(answer)})
        except BaseException:
            send({"error": traceback.format_exc()})
            raise


def send(message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def main(script: str, *servers: str) -> None:
    """Run the script; serve its `predict` if it did not do so itself."""
    if importlib.util.find_spec("polars") is None:
        stand_in = ModuleType("polars")
        stand_in.__dict__.update(DataFrame=Frame, Series=Frame)
        sys.modules["polars"] = stand_in
    package = sys.modules["kaggle_evaluation"] = ModuleType("kaggle_evaluation")
    package.__path__ = []
    for module, _, server in (each.partition(":") for each in servers):
        inner = ModuleType(f"kaggle_evaluation.{module}")
        inner.__dict__[server] = InferenceServer
        package.__dict__[module] = inner
        sys.modules.update({inner.__name__: inner, module: inner})
    os.environ["KAGGLE_IS_COMPETITION_RERUN"] = "1"
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    sys.argv = [script]
    names = runpy.run_path(script, run_name="__main__")
    if not InferenceServer.served:
        if not callable(names.get("predict")):
            send({"error": f"{script} neither starts a server nor defines predict(id_, question)"})
            return
        serve(names["predict"])


if __name__ == "__main__":
    problems = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the entry prints must not be taken for answers
    main(*sys.argv[1:])
