"""The command line in forks of a process that has imported the heavy libraries once.

Importing PyTorch takes longer than most of what the tests ask of a command. A fork has a process group, streams and an
exit code of its own, as a command in a shell has. What happens while a command imports is tested with `python -m
podium`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

IMPORTED = ("torch", "podium.recipe.stages", "podium.generate.engine", "podium.train", "podium.solve", "tests.command")


def run(arguments: Sequence[str], environment: dict[str, str], timeout: float) -> tuple[int, str, str]:
    """(exit code, output, errors) of `podium` with these arguments.

    Raises:
        TimeoutError: it did not end in `timeout` seconds; it is killed.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(IMPORTED))
    with tempfile.TemporaryDirectory() as folder:
        fork = forks.Process(target=_command, args=(list(arguments), environment, os.getcwd(), folder))
        fork.start()
        fork.join(timeout)
        if fork.exitcode is None:
            fork.kill()
            raise TimeoutError(f"podium {' '.join(arguments)}: no end in {timeout:g} s")
        return fork.exitcode, *(Path(folder, name).read_text(errors="replace") for name in ("out", "error"))


def _command(arguments: list[str], environment: dict[str, str], cwd: str, folder: str) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "error")):
        file = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["podium", *arguments]
    from podium.commands.cli import main

    try:
        main(prog_name="podium")
    finally:
        atexit._run_exitfuncs()
