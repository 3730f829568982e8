"""One holder per folder: tasks, threads and processes."""

import asyncio
import os
import threading

import pytest

from podium.errors import StorageError
from podium.lock import locked, locked_folder


def test_it_is_taken_once_and_given_back(tmp_path):
    with locked_folder(tmp_path / "run", "wait"):
        assert not (tmp_path / "run").exists()
        with locked_folder(tmp_path / "x" / ".." / "run", "wait"):  # of the same holder: nothing happens
            pass
        with locked_folder(tmp_path / "other", "wait"):
            pass
        said = []

        def second() -> None:
            try:
                with locked_folder(tmp_path / "run", "wait"):
                    said.append("held twice")
            except StorageError as error:
                said.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert said == [f"{tmp_path / 'run'}: process {os.getpid()} is working here\n  -> wait"]
    with locked(tmp_path / ".run.lock"):
        pass


async def test_another_task_is_refused_until_the_first_is_done(tmp_path):
    held, done = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with locked_folder(tmp_path / "run", "wait"):
            held.set()
            await done.wait()

    task = asyncio.create_task(first())
    await held.wait()
    with pytest.raises(StorageError, match="working here"), locked_folder(tmp_path / "run", "wait"):
        pass
    done.set()
    await task
    with locked_folder(tmp_path / "run", "wait"):
        pass
