"""The eight tasks of MLPerf Training v1.1 by their keys; each is imported when it is asked for."""

from __future__ import annotations

import importlib

from podium.bench.task import Task
from podium.errors import InputError, nearest

KEYS = ("resnet", "unet3d", "ssd", "maskrcnn", "rnnt", "bert", "dlrm", "minigo")


def find_task(key: str) -> Task:
    """The task called `key`.

    Raises:
        InputError: there is none.
    """
    if key not in KEYS:
        raise InputError(f"there is no task {key!r}", nearest(key, KEYS))
    return importlib.import_module(f"podium.bench.tasks.{key}").TASK
