"""Closing, cancelling and dying while sessions are being made: everybody is told, and nothing is left.

A zygote that is stopped (SIGSTOP) holds every spawn in flight for as long as a test wants, so most orders of events are
set here and not left to the scheduler. Processes are found by a mark in their environment, wherever they hang in the
tree: one that lost its zygote has another parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from podium.errors import InputError
from podium.sandbox import Limits, Sandbox, SyncSandbox, launch

WIDE = Limits(wall_seconds=30.0)
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.fixture(params=["A", "B"])
def tier(request):
    return request.param


@pytest.fixture(autouse=True)
def mark(monkeypatch):
    """What every process of this test, and no other, has in its environment."""
    token = secrets.token_hex(8)
    monkeypatch.setitem(launch.ENVIRONMENT, "PODIUM_TEST_MARK", token)
    return token.encode()


def alive(mark: bytes) -> dict[int, str]:
    """Marked processes that run or could run again, with what /proc says of them."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                marked = mark in (entry / "environ").read_bytes()
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if marked and stat.rpartition(")")[2].split()[0] not in "ZX":
                found[int(entry.name)] = stat
    return found


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def opened_since(before: dict[str, str]) -> dict[str, str]:
    """What is open and was not. What other tests left for the garbage collector may close at any time."""
    return dict(descriptors().items() - before.items())


async def until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return bool(condition())


def inner_zygote(sandbox: Sandbox) -> int:
    """The process that forks; in tier A a child of the one that the host knows."""
    pid = sandbox.zygote_pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if sandbox.tier == "A" else pid


async def settled(tasks):
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60.0)


async def idle(sandbox: Sandbox) -> None:
    """Wait for the end of the canary, which was killed when it had done its work."""
    assert await until(lambda: not sandbox._processes)


async def opening(sandbox: Sandbox, count: int) -> list[asyncio.Task]:
    tasks = [asyncio.create_task(sandbox.open()) for _ in range(count)]
    await asyncio.sleep(0.05)
    return tasks


async def test_closed_while_sessions_are_opened(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0):
        pass  # whatever is made once per interpreter is made now
    before = descriptors()
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        zygote = inner_zygote(sandbox)
        os.kill(zygote, signal.SIGSTOP)
        tasks = await opening(sandbox, 30)
        asyncio.get_running_loop().call_later(0.3, os.kill, zygote, signal.SIGCONT)
    assert alive(mark) == {}
    assert not opened_since(before)
    assert {type(each) for each in await settled(tasks)} == {InputError}


async def test_closed_while_the_pool_is_filled(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0):
        pass
    before = descriptors()
    for pause in (0.03, 0.035, 0.04, 0.045, 0.05, 0.06):
        async with Sandbox(WIDE, warm=(), tier=tier, ready=8):
            await asyncio.sleep(pause)
        assert alive(mark) == {}
        assert not opened_since(before)


async def test_cancelled_opens_leave_nothing_and_disturb_nobody(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        async with await sandbox.open():
            pass
        await idle(sandbox)
        family, before = set(alive(mark)), descriptors()
        zygote = inner_zygote(sandbox)
        os.kill(zygote, signal.SIGSTOP)
        # More than the socket to the zygote holds.
        tasks = await opening(sandbox, 1000)
        kept = tasks[::100]
        for task in tasks:
            if task not in kept:
                task.cancel()
        await asyncio.sleep(0)
        os.kill(zygote, signal.SIGCONT)
        sessions = await settled(kept)
        assert [(await session.run("1 + 1")).output for session in sessions] == ["2\n"] * len(kept)
        for session in sessions:
            await session.close()
        assert await until(lambda: set(alive(mark)) == family), alive(mark)
        assert await until(lambda: not opened_since(before)), opened_since(before)


async def test_cancelled_in_the_turn_in_which_the_session_comes(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        async with await sandbox.open():
            pass
        await idle(sandbox)
        family, before = set(alive(mark)), descriptors()
        task = asyncio.create_task(sandbox.open())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # Due at the same turn as the answer, which is read first: the caller goes before it has seen the session.
        asyncio.get_running_loop().call_later(0.001, task.cancel)
        time.sleep(0.3)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: set(alive(mark)) == family), alive(mark)
        assert await until(lambda: not opened_since(before)), opened_since(before)


async def test_zygote_killed_while_sessions_are_opened(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        zygote = inner_zygote(sandbox)
        os.kill(zygote, signal.SIGSTOP)
        tasks = await opening(sandbox, 12)
        os.kill(zygote, signal.SIGKILL)
        sessions = await settled(tasks)
        assert [(await session.run("1 + 1")).output for session in sessions] == ["2\n"] * len(tasks)
        # Every one hangs at the new zygote: one of the old would not die with it.
        os.kill(inner_zygote(sandbox), signal.SIGKILL)
        assert await until(lambda: not alive(mark)), alive(mark)


async def test_orphan_of_a_zygote_that_died_right_after_the_fork(tier, mark):
    """The zygote goes at every moment of the making of a session; what it had forked goes too, ready or not."""
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        for step in range(24):
            tasks = [asyncio.create_task(sandbox.open()) for _ in range(3)]
            await asyncio.sleep(0.001 * step)
            old = set(alive(mark))
            os.kill(inner_zygote(sandbox), signal.SIGKILL)
            assert await until(lambda old=old: not old & set(alive(mark))), alive(mark)
            sessions = await settled(tasks)
            assert {(await session.run("1")).status for session in sessions} <= {"ok", "state-lost"}
            assert [(await session.run("2")).output for session in sessions] == ["2\n"] * 3
            for session in sessions:
                await session.close()
    assert alive(mark) == {}


async def test_zygote_whose_socket_outlives_it(mark, monkeypatch):
    """A session that says that its zygote is gone is believed, whoever else still holds the zygote's socket."""
    held: list[socket.socket] = []
    real = socket.socketpair

    def held_open(*kind: int) -> tuple[socket.socket, socket.socket]:
        ours, theirs = real(*kind)
        held.append(theirs.dup())
        return ours, theirs

    monkeypatch.setattr(launch.socket, "socketpair", held_open)
    async with Sandbox(WIDE, warm=(), tier="B", ready=0) as sandbox:
        for step in range(24):
            async with await sandbox.open():
                pass  # the zygote runs, and its socket is the one that is held
            launcher = sandbox._launcher
            tasks = [asyncio.create_task(sandbox.open()) for _ in range(6)]
            await asyncio.sleep(0.0005 * step)
            os.kill(inner_zygote(sandbox), signal.SIGKILL)
            asyncio.get_running_loop().call_later(0.1, held.pop().close)
            sessions = await settled(tasks)
            assert [session for session in sessions if isinstance(session, Exception)] == []
            assert await until(lambda launcher=launcher: not launcher.alive)
            for session in sessions:
                await session.close()
    for end in held:
        end.close()


async def test_cancelled_while_the_zygote_is_started_again(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        os.kill(inner_zygote(sandbox), signal.SIGKILL)
        first = sandbox._launcher
        task = asyncio.create_task(sandbox.open())
        assert await until(lambda: sandbox._launcher is not first)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        session = await asyncio.wait_for(sandbox.open(), 60.0)
        assert (await session.run("3")).output == "3\n"


@pytest.mark.parametrize("moment", ["old one ending", "new one starting"])
async def test_closed_while_the_zygote_is_started_again(tier, moment, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0):
        pass
    before = descriptors()
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        first = sandbox._launcher
        os.kill(inner_zygote(sandbox), signal.SIGKILL)
        assert await until(lambda: not first.alive)
        task = asyncio.create_task(sandbox.open())
        if moment == "new one starting":
            assert await until(lambda: sandbox._launcher is not first)
        else:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert sandbox._launcher is first
    assert alive(mark) == {}
    assert not opened_since(before)
    assert [type(each) for each in await settled([task])] == [InputError]


async def test_out_of_descriptors_while_the_zygote_is_started_again(tier):
    import resource

    from podium.errors import PodiumError

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        os.kill(inner_zygote(sandbox), signal.SIGKILL)
        assert await until(lambda: not sandbox._launcher.alive)
        lowest_free = next(number for number in range(1000) if str(number) not in descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 2, hard))
        try:
            with pytest.raises(PodiumError, match="out of file descriptors"):
                await sandbox.open()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await (await sandbox.open()).run("4")).output == "4\n"


async def test_session_closed_while_its_block_runs(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        await idle(sandbox)
        family = set(alive(mark))
        session = await sandbox.open()
        block = asyncio.create_task(session.run("import time\ntime.sleep(20)"))
        await asyncio.sleep(0.2)
        await session.close()
        with pytest.raises(InputError, match="session is closed"):
            await asyncio.wait_for(block, 60.0)
        # Not run again in another process, and no process for a session that is closed.
        assert await until(lambda: set(alive(mark)) == family), alive(mark)


async def test_session_closed_while_it_gets_a_new_process(tier, mark):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        await idle(sandbox)
        family = set(alive(mark))
        session = await sandbox.open()
        assert (await session.run("import os\nos._exit(0)")).state_lost
        zygote = inner_zygote(sandbox)
        os.kill(zygote, signal.SIGSTOP)
        block = asyncio.create_task(session.run("1"))
        await asyncio.sleep(0.05)
        await session.close()
        os.kill(zygote, signal.SIGCONT)
        with pytest.raises(InputError, match="session is closed"):
            await asyncio.wait_for(block, 60.0)
        assert await until(lambda: set(alive(mark)) == family), alive(mark)


@pytest.mark.filterwarnings("ignore:.*without any isolation")
async def test_cancelled_start_of_an_interpreter_without_a_zygote(mark):
    async with Sandbox(WIDE, warm=(), tier="D", allow_unsafe=True, ready=0) as sandbox:
        task = asyncio.create_task(sandbox.open())
        assert await until(lambda: sandbox._processes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: not alive(mark)), alive(mark)


def test_descriptors_of_sessions_stay_with_the_host():
    before = descriptors()
    with SyncSandbox(WIDE, warm=(), ready=0) as sandbox, sandbox.open():
        made = descriptors().keys() - before.keys()
        assert len(made) >= 3
        assert [descriptors()[each] for each in made if os.get_inheritable(int(each))] == []


def test_other_threads_are_told_when_a_synchronous_sandbox_closes():
    told: list[BaseException | None] = []

    def use(session) -> None:
        try:
            session.run("import time\ntime.sleep(20)")
        except InputError as error:
            told.append(error)

    def take() -> None:
        try:
            while True:
                sandbox.open().close()
        except InputError as error:
            told.append(error)

    with SyncSandbox(WIDE, warm=(), ready=0, running=4) as sandbox:
        sessions = [sandbox.open() for _ in range(2)]
        threads = [threading.Thread(target=use, args=(session,), daemon=True) for session in sessions]
        threads += [threading.Thread(target=take, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join(10.0)
    assert not any(thread.is_alive() for thread in threads)
    assert len(told) == len(threads)
    sessions[0].close()  # gone already


@pytest.fixture
def busy():
    """More to do than there are cores."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for each in loops:
        each.kill()
        each.wait()


async def test_any_order_of_events_on_a_busy_machine(tier, mark, busy):
    rng = random.Random(tier)
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0):
        pass
    before = descriptors()
    for _ in range(6):
        opens: list[asyncio.Task] = []
        others: list[asyncio.Task] = []
        kills = 2  # fewer than a sandbox bears in a row
        async with Sandbox(WIDE, warm=(), tier=tier, ready=rng.randrange(4)) as sandbox:
            for _ in range(40):
                await asyncio.sleep(rng.choice([0, 0, 0.001, 0.01]))
                event = rng.random()
                if event < 0.6:
                    opens.append(asyncio.create_task(sandbox.open()))
                elif event < 0.7 and opens:
                    rng.choice(opens + others).cancel()
                elif event < 0.9 and opens:
                    one = rng.choice(opens)
                    if one.done() and not one.cancelled() and one.exception() is None:
                        others.append(asyncio.create_task(one.result().run("1")))
                        others.append(asyncio.create_task(one.result().close()))
                elif event > 0.95 and kills:
                    kills -= 1
                    with contextlib.suppress(ProcessLookupError):  # the one before is still being replaced
                        os.kill(sandbox.zygote_pid, signal.SIGKILL)
        assert alive(mark) == {}
        assert not opened_since(before)
        ends = await settled(opens + others)
        failed = [end for end in ends if isinstance(end, BaseException)]
        assert [end for end in failed if not isinstance(end, InputError | asyncio.CancelledError)] == []
