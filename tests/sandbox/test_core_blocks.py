"""What a block shows and what it leaves behind, in both Linux tiers."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

import pytest

from podium.errors import InputError
from podium.sandbox import Limits, Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_variables_functions_and_imports_live_on(session):
    await session.run("import math\ndef area(r):\n    return math.pi * r**2\nr = 2")
    result = await session.run("print(round(area(r), 3))")
    assert (result.status, result.output) == ("ok", "12.566\n")


async def test_sessions_do_not_share_variables(sandbox):
    async with await sandbox.open() as one, await sandbox.open() as other:
        await one.run("x = 1")
        assert "NameError" in (await other.run("x")).output


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("2 + 3", "5\n"),
        ("2 + 3;", ""),
        ("x = 5", ""),
        ("None", ""),
        ("print('a')\n'b'", "a\n'b'\n"),
        ("if True:\n    7", ""),
        ("# nothing", ""),
        ("", ""),
        ("from sympy import *\nfactorint(2**64 + 1)", "{274177: 1, 67280421310721: 1}\n"),
        ("from sympy import *\nx = symbols('x')\nsolve(x**2 - 2, x)", "[-sqrt(2), sqrt(2)]\n"),
        ("import numpy as np\nnp.arange(4).sum()", "np.int64(6)\n"),
        ("import sys\nprint('e', file=sys.stderr)\nsys.stdout.buffer.write(b'raw\\n');", "e\nraw\n"),
        ("len(str(3**20000))", "9543\n"),
        ("_ = 4\n_", "4\n"),
        ("x = 3\nx # a; b", "3\n"),
        ("x = 3\nx;  # hidden", ""),
        ("'a; b'", "'a; b'\n"),
        ("display(2, 'a')\ndisplay(None)", "2\n'a'\nNone\n"),
        ("from IPython.display import display, Math\ndisplay(Math(r'x^2'))", "x^2\n"),
        ("def f(x: int): pass\nf.__annotations__", "{'x': <class 'int'>}\n"),
        ("import asyncio\nawait asyncio.sleep(0, 5)", "5\n"),
        ("async def two():\n    return 2\nx = await two()\nx + await two()", "4\n"),
        ("async def count():\n    yield 1\n    yield 2\nprint([n async for n in count()])", "[1, 2]\n"),
        ("import asyncio\nasync def one():\n    return 1\nasyncio.run(one()) + await one()", "2\n"),
        ("if __name__ == '__main__':\n    print('main')", "main\n"),
        ("import os\nos.write(1, b'first\\n')\nprint('second')", "first\nsecond\n"),
    ],
)
async def test_output(session, code, shown):
    result = await session.run(code)
    assert (result.status, result.output) == ("ok", shown)


async def test_the_tier_stands_in_every_result(sandbox, session):
    results = [await session.run("1"), await session.run("1/0"), await session.run("x" * 10_000_000)]
    assert {result.tier for result in results} == {sandbox.tier}
    assert sandbox.tier in "AB"


async def test_traceback_shows_own_frames_with_their_source(session):
    await session.run("def inner(n):\n    return 10 // n")
    result = await session.run("def outer():\n    return inner(0)\nouter()")
    assert result.status == "error"
    lines = result.output.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: integer division or modulo by zero"
    assert [line.strip() for line in lines if line.startswith('  File "')] == [
        'File "<block 2>", line 3, in <module>',
        'File "<block 2>", line 2, in outer',
        'File "<block 1>", line 2, in inner',
    ]
    assert "    return 10 // n" in lines


async def test_frames_of_libraries_are_left_out(session):
    result = await session.run("import json\njson.loads('{')")
    assert result.output.count("File ") == 1
    assert "json/decoder.py" not in result.output
    assert result.output.rstrip().splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting")


async def test_deep_recursion_shows_a_few_frames(session):
    result = await session.run("def f(n):\n    return f(n + 1)\nf(0)")
    assert "RecursionError" in result.output
    assert len(result.output) < 1500


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("x = (1,\n", "SyntaxError: '(' was never closed"),
        ("def f():\nreturn 1", "IndentationError: expected an indented block after function definition on line 1"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("input('number? ')", "EOFError: EOF when reading a line"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = 1\0", "SyntaxError: source code string cannot contain null bytes"),
        ("(" * 90_000, "too many nested parentheses"),
    ],
)
async def test_errors_end_the_block_only(session, code, last):
    result = await session.run(code)
    assert result.status == "error"
    assert last in result.output
    assert (await session.run("1 + 1")).output == "2\n"


async def test_seed_decides_random_numbers(sandbox):
    draw = "import random, numpy\nprint(random.random(), numpy.random.rand())"
    outputs = []
    for seed in (1, 1, 2):
        async with await sandbox.open(seed=seed) as session:
            outputs.append((await session.run(draw)).output)
    assert outputs[0] == outputs[1] != outputs[2]


async def test_order_of_sets_is_the_same_in_every_session(sandbox):
    outputs = set()
    for _ in range(2):
        async with await sandbox.open() as session:
            outputs.add((await session.run("set('abcdefghij')")).output)
    assert len(outputs) == 1


async def test_long_output_keeps_its_beginning_and_end(session):
    result = await session.run("for i in range(100000):\n    print(i)")
    whole = "".join(f"{i}\n" for i in range(100000))
    head, rest = result.output.split("\n... [", 1)
    number, tail = rest.split(" characters not shown] ...\n", 1)
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert int(number) == result.dropped_chars == len(whole) - len(head) - len(tail)
    assert len(head) + len(tail) == session.limits.output_chars


async def test_output_is_cleaned(session):
    result = await session.run("print('a\\x1b[31mb\\x00c\\u202ed\\u2066e\\x07f\\rg\\ud800')")
    assert not any(character < " " and character not in "\n\t" for character in result.output)
    assert not any(character in result.output for character in "\u202e\u2066\ud800\x7f")
    assert "\\ud800" in result.output


async def test_output_of_a_killed_block_is_shown(session):
    result = await session.run("import os\nprint('before')\nos._exit(0)")
    assert result.status == "crashed"
    assert result.state_lost
    assert result.output.startswith("before\n")
    fresh = await session.run("before = 1\nbefore")
    assert (fresh.status, fresh.output, fresh.state_lost) == ("ok", "1\n", False)


async def test_memory_error_keeps_the_session(session):
    await session.run("kept = 5")
    result = await session.run("hog = bytearray(10**10)")
    assert (result.status, result.state_lost) == ("memory", False)
    assert (await session.run("kept")).output == "5\n"


async def test_interrupted_block_keeps_variables(sandbox):
    async with await sandbox.open(limits=Limits(wall_seconds=0.3)) as session:
        await session.run("kept = 5")
        result = await session.run("n = 0\nwhile True:\n    n += 1")
        assert (result.status, result.state_lost) == ("timeout", False)
        assert "Stopped after 0.3 seconds." in result.output
        assert (await session.run("kept, n > 0")).output == "(5, True)\n"


async def test_block_that_ignores_the_interrupt_is_killed(sandbox):
    async with await sandbox.open(limits=Limits(wall_seconds=0.3)) as session:
        await session.run("kept = 5")
        result = await session.run(
            "import time\nwhile True:\n    try:\n        time.sleep(10)\n    except BaseException:\n        pass"
        )
        assert (result.status, result.state_lost) == ("timeout", True)
        assert "variables are lost" in result.output
        assert "NameError" in (await session.run("kept")).output


async def test_interrupt_that_comes_before_the_block_begins(sandbox):
    async with await sandbox.open(limits=Limits(wall_seconds=0.3)) as session:
        await session.run("kept = 5")
        block = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0)
        # As a machine does that has no core for it: the interrupt finds it waiting for the request still.
        session._process._handle.signal(signal.SIGSTOP)
        await asyncio.sleep(0.35)
        session._process._handle.signal(signal.SIGCONT)
        result = await block
        assert (result.status, result.state_lost) == ("timeout", False)
        assert (await session.run("kept")).output == "5\n"


async def test_flood_past_the_polite_cap_is_killed(session):
    result = await session.run("import os\nwhile True:\n    os.write(1, b'x' * 65536)")
    assert (result.status, result.state_lost) == ("output-limit", True)
    assert len(result.output) < session.limits.output_chars + 300


async def test_nothing_runs_between_blocks(session):
    await session.run(
        "import threading, time\ncount = 0\ndef work():\n    global count\n    while True:\n"
        "        count += 1\n        time.sleep(0.001)\n"
        "threading.Thread(target=work, daemon=True).start()\ntime.sleep(0.05)"
    )
    before = int((await session.run("count")).output)
    await asyncio.sleep(1.0)
    after = int((await session.run("count")).output)
    assert before > 0
    # Left alone the thread would count several hundred in a second.
    assert after - before < 100


async def test_output_of_a_thread_stays_out_of_the_next_block(session):
    await session.run(
        "import os, threading, time\ndef work():\n    while True:\n"
        "        os.write(1, b'bleed')\n        time.sleep(0.01)\n"
        "threading.Thread(target=work, daemon=True).start()"
    )
    await asyncio.sleep(0.3)
    result = await session.run("1 + 1")
    # At most what the thread writes while this very block runs; not the thirty writes of the pause.
    assert result.output.count("bleed") < 10
    assert "2\n" in result.output


async def test_limits_can_only_be_narrowed(sandbox):
    async with await sandbox.open(limits=Limits(wall_seconds=1e6, output_chars=50)) as session:
        assert session.limits.wall_seconds == sandbox.limits.wall_seconds
        assert session.limits.output_chars == 50
        result = await session.run("print('y' * 500, end='')")
        assert result.output.count("y") == 50
    async with await sandbox.open(limits=Limits(memory_bytes=32 << 20)) as session:
        assert (await session.run("b = bytearray(64 << 20)")).status == "memory"


async def test_results_carry_time(session):
    result = await session.run("import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass")
    assert 0.15 < result.cpu_seconds < 5
    assert result.wall_seconds >= result.cpu_seconds * 0.9


async def test_blocks_of_one_session_take_turns(session):
    results = await asyncio.gather(*(session.run(f"log = globals().get('log', []) + [{i}]\nlog") for i in range(5)))
    assert results[-1].output == "[0, 1, 2, 3, 4]\n"


async def test_code_that_cannot_be_run(session):
    with pytest.raises(InputError, match="bytes, not text"):
        await session.run(b"1")  # type: ignore[arg-type]
    too_long = await session.run("#" * 10_000_000)
    assert (too_long.status, too_long.state_lost) == ("error", False)
    assert "too long: 10000000 bytes" in too_long.output
    assert "not valid text" in (await session.run("'\ud800'")).output


async def test_scientific_libraries_threads_and_loops(session):
    code = """
import asyncio, collections, fractions, itertools, threading
import numpy as np
total = []
threads = [threading.Thread(target=total.append, args=(i,)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
async def one():
    await asyncio.sleep(0.01)
    return 1
async def many():
    return sum(await asyncio.gather(*(one() for _ in range(3))))
print(sorted(total), asyncio.run(many()))
print(sum(fractions.Fraction(1, k) for k in range(1, 5)), len(list(itertools.permutations(range(5)))))
print(np.linalg.matrix_rank(np.eye(3)))
"""
    result = await session.run(code)
    assert (result.status, result.output) == ("ok", "[0, 1, 2, 3] 3\n25/12 120\n3\n")


POOLS = """
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Barrier, Queue, RLock, Value, dummy
from multiprocessing.pool import ThreadPool
with ThreadPool(4) as pool:
    print(pool.map(abs, [-1, -2]), list(pool.imap_unordered(len, ["abc"])), pool.apply_async(pow, (2, 5)).get())
with dummy.Pool() as pool, ThreadPoolExecutor(32) as executor:
    print(pool.starmap(pow, [(2, 3)]), sum(executor.map(abs, range(-300, 0))))
queue, count, lock, gate = Queue(), Value("i", 0), RLock(), Barrier(2)
def work(n):
    gate.wait()
    for _ in range(100):
        with lock, lock:
            count.value += 1
    queue.put(n)
with ThreadPool(2) as pool:
    pool.map(work, [1, 2])
print(count.value, sorted([queue.get(timeout=20), queue.get(timeout=20)]))
"""


async def test_pools_of_threads(session):
    result = await session.run(POOLS)
    assert (result.status, result.output) == ("ok", "[1, 2] [3] 32\n[8] 45150\n200 [1, 2]\n")


async def test_a_pool_of_processes_says_what_to_do_instead(session):
    result = await session.run("import multiprocessing\nmultiprocessing.Pool(2)")
    assert result.status == "error"
    assert "use a loop or threads" in result.output


async def test_futures_hold_for_the_later_blocks_of_their_session(sandbox):
    async with await sandbox.open() as session, await sandbox.open() as other:
        function = "def f(x: int): pass\nf.__annotations__"
        assert (await session.run(function)).output == "{'x': <class 'int'>}\n"
        await session.run("from __future__ import annotations\n1 / 0")
        assert (await session.run(function)).output == "{'x': 'int'}\n"
        assert (await other.run(function)).output == "{'x': <class 'int'>}\n"


async def test_values_shown_earlier_can_be_used(session):
    await session.run("6 * 7")
    await session.run("'hidden';")
    await session.run("print('nothing')")
    await session.run("_ + 1")
    assert (await session.run("_, __, Out[1], _4, sorted(Out), In[2]")).output == (
        "(43, 42, 42, 43, [1, 4], \"'hidden';\")\n"
    )


async def test_a_name_of_the_block_is_not_taken_for_the_last_value(session):
    await session.run("_ = 'mine'")
    await session.run("1 + 1")
    assert (await session.run("_, Out[2]")).output == "('mine', 2)\n"


async def test_tasks_go_on_from_block_to_block(session):
    await session.run("import asyncio\nasync def work():\n    await asyncio.sleep(0.01)\n    return 7")
    await session.run("task = asyncio.create_task(work())")
    assert (await session.run("await task")).output == "7\n"
    assert (await session.run("asyncio.get_event_loop().run_until_complete(work())")).output == "7\n"
    assert (await session.run("loop = asyncio.new_event_loop()\nloop.run_until_complete(work())")).output == "7\n"
    await session.run("asyncio.get_event_loop().close()")
    assert (await session.run("async with asyncio.timeout(20):\n    print(await work())")).output == "7\n"


async def test_an_error_of_an_awaited_function_shows_its_frames(session):
    result = await session.run("async def bad():\n    return 1 / 0\nawait bad()")
    assert result.status == "error"
    assert [line.strip() for line in result.output.splitlines() if "File" in line] == [
        'File "<block 1>", line 3, in <module>',
        'File "<block 1>", line 2, in bad',
    ]


async def test_interrupted_await_keeps_variables_and_the_loop(sandbox):
    async with await sandbox.open(limits=Limits(wall_seconds=1.0)) as session:
        await session.run("import asyncio\nkept = 5")
        result = await session.run("try:\n    await asyncio.sleep(60)\nfinally:\n    ended = True")
        assert (result.status, result.state_lost) == ("timeout", False)
        assert (await session.run("await asyncio.sleep(0, (kept, ended))")).output == "(5, True)\n"


async def test_lines_of_a_notebook_do_not_take_the_block_along(session):
    result = await session.run(
        "!pip install sympy\n%matplotlib inline\ntext = '''\n!kept\n'''\nfor n in range(2):\n    !ls\nlen?\ntext"
    )
    assert result.status == "ok"
    lines = result.output.splitlines()
    assert [line.split(":")[1].strip() for line in lines[:-1]] == [
        "!pip install sympy",
        "%matplotlib inline",
        "!ls",
        "!ls",
        "len?",
    ]
    assert lines[-1] == r"'\n!kept\n'"
    failed = await session.run("!ls \\\n  -l\n1 / 0")
    assert "line 3, in <module>\n    1 / 0" in failed.output


async def test_help_is_printed(session):
    assert "absolute value" in (await session.run("help(abs)")).output


async def test_scipy(session):
    pytest.importorskip("scipy")
    result = await session.run("from scipy.optimize import brentq\nround(brentq(lambda x: x * x - 2, 0, 2), 9)")
    assert result.output == "1.414213562\n"


async def test_scratch_belongs_to_one_session_of_tier_a(sandbox):
    async with await sandbox.open() as one, await sandbox.open() as other:
        written = await one.run(
            "import os, tempfile\nwith tempfile.NamedTemporaryFile('w+', delete=False) as file:\n"
            "    file.write('mine')\n    file.seek(0)\n    text = file.read()\ntext, os.path.dirname(file.name)"
        )
        if sandbox.tier == "B":
            assert "No usable temporary directory" in written.output
        else:
            assert written.output == "('mine', '/tmp')\n"
            assert (await other.run("import os\nos.listdir('/tmp'), os.getcwd()")).output == "([], '/tmp')\n"
            assert (await other.run("open('kept.txt', 'w').write('x')")).output == "1\n"


async def test_tmp_is_private_and_writable_where_python_itself_lives_in_tmp(sandbox):
    """A warm module stands for an interpreter and its packages: all of them are shown in the same way."""
    if sandbox.tier == "B":
        pytest.skip("tier B has no writable folder")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder, "lives_in_tmp").mkdir()
        Path(folder, "lives_in_tmp", "__init__.py").write_text("number = 41\n")
        Path(folder, "lives_in_tmp", "later.py").write_text("number = 42\n")
        Path(folder, "secret.txt").write_text("secret")
        patch.syspath_prepend(folder)
        async with Sandbox(Limits(wall_seconds=30.0), warm=("lives_in_tmp",), tier="A", ready=1) as sandbox:
            async with await sandbox.open() as one, await sandbox.open() as other:
                code = "import os, lives_in_tmp.later as later\nopen('/tmp/mine', 'w').write('x')\n"
                shown = await one.run(code + "later.number, os.listdir('/tmp'), os.access(later.__file__, os.W_OK)")
                assert shown.output == "(42, ['mine'], False)\n"
                assert (await other.run("import os\nos.listdir('/tmp')")).output == "[]\n"
                for path in (f"{folder}/secret.txt", f"/host{folder}/secret.txt", f"/host{folder}"):
                    hidden = await other.run(f"os.listdir({path!r})\nopen({path!r})")
                    assert "Error" in hidden.output


async def test_hint_for_processes(session):
    result = await session.run("import subprocess\nsubprocess.run(['ls'])")
    assert result.status == "error"
    assert "no other program can be run here" in result.output


async def test_waiting_for_admission_costs_no_time_limit():
    limits = Limits(wall_seconds=2.0)
    async with Sandbox(limits, warm=(), running=1, ready=4) as sandbox:
        sessions = [await sandbox.open() for _ in range(4)]
        results = await asyncio.gather(*(session.run("import time\ntime.sleep(0.7)") for session in sessions))
        assert [result.status for result in results] == ["ok"] * 4
        # The last one stood in line for longer than its own limit.
        assert max(result.queued_seconds for result in results) > limits.wall_seconds
