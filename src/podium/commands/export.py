"""`podium export`: an exam that was sat, as an Inspect log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    exam_: Annotated[Path, typer.Argument(metavar="EXAM", help="Folder of an exam.")],
    out: Annotated[Path | None, typer.Option(help="A .eval or .json file (default: EXAM/inspect.eval).")] = None,
) -> None:
    """Write an exam as an Inspect log, for `inspect view` and `inspect_ai.log.read_eval_log`.

    Example: podium export runs/exams/cot-gsm8k --out cot.eval
    """
    from podium.board.inspect_log import export_inspect
    from podium.folders import INSPECT, ExamFolder

    folder = ExamFolder.at(exam_).path
    path = out or folder / INSPECT
    count = export_inspect(folder, path)
    print(f"{count} samples: {path}")
