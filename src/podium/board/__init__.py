"""The report of a run: a page that opens from the disk, and a summary in the terminal.

Reads run folders and rows; does not know how results were made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.board.exam import Exam
    from podium.board.report import ReportInput, build_report, report_or_index, write_report
    from podium.board.summary import print_summary

__all__ = ["Exam", "ReportInput", "build_report", "print_summary", "report_or_index", "write_report"]

_HOMES = {"Exam": "exam"} | dict.fromkeys(("ReportInput", "build_report", "report_or_index", "write_report"), "report")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"podium.board.{_HOMES.get(name, 'summary')}"), name)
