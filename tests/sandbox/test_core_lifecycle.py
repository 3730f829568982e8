"""What is left, lost and said when things end: sessions, zygotes, hosts, sandboxes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from podium.commands.sandbox_check import try_tiers
from podium.commands.sandbox_run import run_file, split_blocks
from podium.errors import InputError, PodiumError, SandboxUnavailable
from podium.sandbox import Limits, Sandbox, SyncSandbox

WIDE = Limits(wall_seconds=30.0)
# Reads what a process tree shows in /proc, so that a claim about processes is not taken from the sandbox itself.


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found - OTHERS


def told(pids: set[int]) -> list[str]:
    """What the processes say of themselves, for a failure's message."""
    return [Path(f"/proc/{pid}/stat").read_text() for pid in pids if Path(f"/proc/{pid}").exists()]


OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others():
    """Processes of other rooms (grading keeps workers) are not the sandbox's."""
    OTHERS.clear()
    OTHERS.update(descendants(os.getpid()))


def alive(pids: set[int]) -> set[int]:
    """Those that run or could run again; a zombie does neither."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found.add(pid)
    return found


def open_descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


async def wait_until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        await asyncio.sleep(0.02)
    return condition()


@pytest.fixture(params=["A", "B"])
def tier(request):
    return request.param


async def test_nothing_is_left_behind(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=2):
        pass  # whatever is made once per interpreter is made now
    before = open_descriptors()
    threads = threading.active_count()
    async with Sandbox(WIDE, warm=(), tier=tier, ready=3) as sandbox:
        sessions = [await sandbox.open() for _ in range(5)]
        await sessions[0].run("1")
        await sessions[1].run("import os; os._exit(1)")
        await sessions[2].close()
        await sessions[2].close()
        family = descendants(os.getpid())
        assert len(family) >= 4
    assert not alive(family), told(alive(family))
    assert not open_descriptors().items() - before.items()
    assert threading.active_count() <= threads + 1  # the loop's own executor


async def test_closed_sessions_free_their_processes(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        async with await sandbox.open():
            pass
        assert await wait_until(lambda: not sandbox._processes)
        idle = len(descendants(os.getpid()))
        descriptors = len(open_descriptors())
        for _ in range(30):
            async with await sandbox.open() as session:
                await session.run("x = 1")
        assert await wait_until(lambda: len(descendants(os.getpid())) == idle)
        assert await wait_until(lambda: len(open_descriptors()) == descriptors)


async def test_zygote_killed_between_blocks(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=2) as sandbox:
        sessions = [await sandbox.open() for _ in range(10)]
        for session in sessions:
            await session.run("x = 1")
        family = descendants(os.getpid())
        zygote = sandbox.zygote_pid
        os.kill(zygote, signal.SIGKILL)
        assert await wait_until(lambda: not alive(family), 5.0), told(alive(family))
        results = [await session.run("x") for session in sessions]
        assert {result.status for result in results} == {"state-lost"}
        assert all(result.state_lost and result.tier == tier for result in results)
        # Said once; afterwards the session works again, empty.
        assert "NameError" in (await sessions[0].run("x")).output
        assert (await sessions[1].run("x = 2\nx")).output == "2\n"
        assert sandbox.zygote_pid != zygote
        assert (await (await sandbox.open()).run("3")).output == "3\n"


async def test_zygote_killed_during_a_block(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=1) as sandbox:
        session = await sandbox.open()
        block = asyncio.create_task(session.run("import time\ntime.sleep(20)"))
        await asyncio.sleep(0.3)
        os.kill(sandbox.zygote_pid, signal.SIGKILL)
        result = await asyncio.wait_for(block, 10.0)
        assert (result.status, result.state_lost) == ("state-lost", True)
        assert (await session.run("1 + 1")).output == "2\n"


async def test_session_killed_from_outside_between_blocks(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        before = descendants(os.getpid())
        session = await sandbox.open()
        await session.run("x = 1")
        (pid,) = descendants(os.getpid()) - before
        os.kill(pid, signal.SIGKILL)
        assert await wait_until(lambda: not alive({pid}))
        assert (await session.run("x")).status == "state-lost"
        assert (await session.run("5")).output == "5\n"


async def test_cancelled_block_is_killed(tier):
    async with Sandbox(WIDE, warm=(), tier=tier, ready=1, running=1) as sandbox:
        session = await sandbox.open()
        block = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.3)
        block.cancel()
        with pytest.raises(asyncio.CancelledError):
            await block
        # The one place for running blocks is free again, and the session says what it lost.
        assert (await asyncio.wait_for((await sandbox.open()).run("7"), 60.0)).output == "7\n"
        assert (await session.run("1")).status == "state-lost"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_host_death_ends_everything(tier, number):
    script = (
        "import asyncio\nfrom podium.sandbox import Sandbox, Limits\n"
        "async def main():\n"
        f"    async with Sandbox(Limits(wall_seconds=60), warm=(), tier={tier!r}, ready=2) as sandbox:\n"
        "        session = await sandbox.open()\n"
        "        await session.run('1')\n"
        "        print('ready', flush=True)\n"
        "        await session.run('while True: pass')\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        family = descendants(host.pid)
        assert len(family) >= 2
        host.send_signal(number)
        host.wait(10)
        assert await wait_until(lambda: not alive(family), 5.0), told(alive(family))


async def test_nothing_of_the_hosts_environment_reaches_a_session(tier, monkeypatch):
    monkeypatch.setenv("PODIUM_TEST_SECRET", "canary-4711")
    async with Sandbox(WIDE, warm=(), tier=tier, ready=0) as sandbox:
        session = await sandbox.open()
        assert "canary" not in (await session.run("import os\ndict(os.environ)")).output
        zygote = {sandbox.zygote_pid} | descendants(sandbox.zygote_pid)
        assert not any(b"canary-4711" in Path(f"/proc/{pid}/environ").read_bytes() for pid in zygote)


async def test_modules_of_the_working_folder_cannot_be_imported(tier, tmp_path, monkeypatch):
    (tmp_path / "private_notes.py").write_text("secret = 1")
    (tmp_path / "public_tools.py").write_text("def double(x): return 2 * x")
    monkeypatch.syspath_prepend(tmp_path)
    async with Sandbox(WIDE, warm=("public_tools",), tier=tier, ready=0) as sandbox:
        session = await sandbox.open()
        assert (await session.run("import public_tools\npublic_tools.double(4)")).output == "8\n"
        hidden = await session.run("import private_notes")
        assert hidden.output.rstrip().splitlines()[-1].startswith(("ModuleNotFoundError", "PermissionError"))


async def test_missing_warm_module_is_named():
    with pytest.raises(InputError, match="warm module 'no_such_module' is not installed") as caught:
        async with Sandbox(warm=("no_such_module",)):
            pass
    assert "pip install" in caught.value.cure


async def test_broken_warm_module_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_tools.py").write_text("raise RuntimeError('needs a licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="broken_tools: RuntimeError: needs a licence"):
        async with Sandbox(warm=("broken_tools",)):
            pass
    assert descendants(os.getpid()) == set()


async def test_unknown_and_unsafe_tiers():
    with pytest.raises(InputError, match="no sandbox tier 'Z'"):
        Sandbox(tier="Z")
    with pytest.raises(InputError, match="without any isolation"):
        Sandbox(tier="D")
    sandbox = Sandbox(WIDE, warm=(), tier="D", allow_unsafe=True, ready=0)
    with pytest.warns(UserWarning, match="without any isolation"):
        await sandbox.__aenter__()
    session = await sandbox.open(seed=3)
    result = await session.run("x = 4\nx")
    assert (result.output, result.tier) == ("4\n", "D")
    assert (await session.run("import os\nos._exit(0)")).status == "crashed"
    assert "NameError" in (await session.run("x")).output
    await sandbox.__aexit__()
    assert descendants(os.getpid()) == set()


@pytest.mark.skipif(sys.platform == "darwin", reason="tier C works there")
async def test_a_tier_that_does_not_work_is_an_error_with_a_cure():
    with pytest.raises(SandboxUnavailable, match="tier C failed at sandbox-exec") as caught:
        async with Sandbox(tier="C", warm=()):
            pass
    assert "macOS" in caught.value.cure


def without_namespaces(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script where no further namespace can be made, as in a container that refuses them: in a user namespace
    whose own limit on such namespaces is zero."""
    starter = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "uid, gid = os.getuid(), os.getgid()\n"
        "if libc.unshare(0x10000000): sys.exit(77)\n"
        "open('/proc/self/setgroups', 'w').write('deny')\n"
        "open('/proc/self/uid_map', 'w').write(f'{uid} {uid} 1')\n"
        "open('/proc/self/gid_map', 'w').write(f'{gid} {gid} 1')\n"
        "for kind in ('user', 'mnt'):\n"
        "    open(f'/proc/sys/user/max_{kind}_namespaces', 'w').write('0')\n"
    )
    done = subprocess.run([sys.executable, "-c", starter + script], capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("no user namespaces here to take away")
    return done


def test_without_namespaces_tier_a_says_why_and_b_is_used():
    done = without_namespaces(
        "import asyncio\nfrom podium.sandbox import Sandbox\nfrom podium.errors import SandboxUnavailable\n"
        "async def main():\n"
        "    try:\n"
        "        async with Sandbox(warm=(), tier='A'): print('A works')\n"
        "    except SandboxUnavailable as error:\n"
        "        print(error.message); print(error.cure)\n"
        "    async with Sandbox(warm=(), ready=0) as sandbox:\n"
        "        print((await (await sandbox.open()).run('6 * 7')))\n"
        "asyncio.run(main())\n"
    )
    assert done.returncode == 0, done.stderr
    message, cure, result = done.stdout.splitlines()
    assert message.startswith("no isolation here: tier A failed at")
    assert "namespace" in message
    assert "user namespaces" in cure
    assert "tier='B'" in result
    assert "42" in result


async def test_out_of_descriptors_is_an_error_with_a_cure():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Sandbox(WIDE, warm=(), ready=0) as sandbox:
        session = await sandbox.open()
        lowest_free = next(number for number in range(1000) if str(number) not in open_descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 2, hard))
        try:
            with pytest.raises(PodiumError, match="out of file descriptors") as caught:
                await sandbox.open()
            assert "ulimit -n" in caught.value.cure
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await session.run("1")).output == "1\n"
        assert (await (await sandbox.open()).run("2")).output == "2\n"


async def test_closed_things_say_so():
    async with Sandbox(WIDE, warm=(), ready=0) as sandbox:
        session = await sandbox.open()
        await session.close()
        with pytest.raises(InputError, match="session is closed"):
            await session.run("1")
    with pytest.raises(InputError, match="sandbox is closed"):
        await sandbox.open()


@pytest.mark.parametrize(
    "limits", [{"wall_seconds": 0}, {"threads": 2.5}, {"output_chars": True}, {"memory_bytes": -1}]
)
def test_limits_are_positive_numbers(limits):
    with pytest.raises(InputError, match=next(iter(limits))):
        Limits(**limits)


def test_synchronous_face():
    with SyncSandbox(WIDE, warm=(), ready=1) as sandbox, sandbox.open(seed=1) as session:
        session.run("x = 20")
        assert session.run("x + 1").output == "21\n"
        assert sandbox.tier in "AB"
        with pytest.raises(InputError):
            session.run(3)  # type: ignore[arg-type]
    assert descendants(os.getpid()) == set()
    assert "podium-sandbox" not in {thread.name for thread in threading.enumerate()}


def test_check_reports_each_tier():
    found = {each.tier: each for each in try_tiers()}
    assert list(found) == ["A", "B", "C"]
    for each in found.values():
        assert each.ok != bool(each.failed and each.cure)


def test_run_file(tmp_path):
    path = tmp_path / "blocks.py"
    path.write_text("# %% first\nx = 4\nx\n# %%\n\n# %%\n1/0\n# %%\nprint(x * 2)\n")
    assert len(split_blocks(path.read_text())) == 3
    lines = list(run_file(path, "kaggle", warm=()))
    assert [line["status"] for line in lines] == ["ok", "error", "ok"]
    assert [set(line) for line in lines] == [{"status", "output", "seconds", "tier"}] * 3
    assert lines[2]["output"] == "8\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "not UTF-8 text"), (b"#" * 10_000_000, "longer than 4 MB"), (None, "no such file")],
)
def test_run_file_refuses(tmp_path, content, message):
    path = tmp_path / "blocks.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(run_file(path))
    path.write_text("1")
    with pytest.raises(InputError, match="did you mean 'kaggle'"):
        list(run_file(path, "kagle"))
