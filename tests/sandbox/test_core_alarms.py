"""What a block arms ends with it: no later block is hit by an alarm, a mask or a handler that it did not ask for."""

from __future__ import annotations

import asyncio

import pytest

from podium.sandbox import Limits

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMERS = [("ITIMER_REAL", "SIGALRM"), ("ITIMER_VIRTUAL", "SIGVTALRM"), ("ITIMER_PROF", "SIGPROF")]
SPIN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nkept"


async def test_alarm_does_not_outlive_its_block(session):
    await session.run("import signal\nkept = 5\nsignal.alarm(1);")
    await asyncio.sleep(1.2)
    assert (await session.run("kept, signal.alarm(0)")).output == "(5, 0)\n"


@pytest.mark.parametrize(("timer", "number"), TIMERS)
async def test_interval_timer_does_not_outlive_its_block(session, timer, number):
    await session.run(f"import signal\nkept = 5\nsignal.setitimer(signal.{timer}, 0.1, 0.1);")
    result = await session.run(SPIN)
    assert (result.status, result.output) == ("ok", "5\n")
    assert (await session.run(f"signal.getitimer(signal.{timer})")).output == "(0.0, 0.0)\n"


@pytest.mark.parametrize(("timer", "number"), TIMERS)
async def test_alarm_that_waits_behind_a_mask_is_forgotten(session, timer, number):
    waited = await session.run(
        f"import signal, time\nkept = 5\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.{number}])\n"
        f"signal.setitimer(signal.{timer}, 0.02)\n"
        f"while signal.{number} not in signal.sigpending(): pass"
    )
    assert waited.status == "ok"
    freed = await session.run(f"signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.{number}])\nkept")
    assert (freed.status, freed.output) == ("ok", "5\n")


async def test_alarm_within_its_block_works_and_its_handler_stays(session):
    first = await session.run(
        "import signal, time\nclass Late(Exception): pass\ndef late(number, frame): raise Late\n"
        "signal.signal(signal.SIGALRM, late)\n"
        "def bounded():\n    signal.setitimer(signal.ITIMER_REAL, 0.05)\n    try:\n        time.sleep(10)\n"
        "    except Late:\n        return 'late'\nbounded()"
    )
    assert first.output == "'late'\n"
    assert (await session.run("bounded()")).output == "'late'\n"


async def test_handler_that_fires_as_the_block_ends_harms_nothing(session):
    await session.run(
        "import signal\nkept = 5\ndef again(number, frame):\n    signal.setitimer(signal.ITIMER_REAL, 0.000001)\n"
        "    raise RuntimeError('late')\nsignal.signal(signal.SIGALRM, again);"
    )
    # Ends at every distance from the alarm.
    for microseconds in range(1, 400, 7):
        result = await session.run(f"signal.setitimer(signal.ITIMER_REAL, {microseconds}e-6)\nkept")
        assert result.status in ("ok", "error"), result
        assert not result.state_lost, result
    assert (await session.run("kept, signal.getsignal(signal.SIGALRM) is again")).output == "(5, True)\n"


async def test_alarm_that_kills_is_told_by_the_block_that_set_it(sandbox, session):
    result = await session.run("import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\ntime.sleep(0.5)")
    # In tier A a session is the first process of its namespace, which no signal of its own ends.
    killed = sandbox.tier == "B"
    assert (result.status, result.state_lost) == (("crashed", True) if killed else ("ok", False))
    assert (await session.run("1")).output == "1\n"


async def test_watchdog_of_faulthandler_ends_with_its_block(session):
    await session.run("import faulthandler\nkept = 5\nfaulthandler.dump_traceback_later(0.2, exit=True, file=1)")
    result = await session.run(SPIN)
    assert (result.status, result.output) == ("ok", "5\n")


@pytest.mark.parametrize(
    "code",
    [
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN);",
    ],
)
async def test_a_later_block_can_be_interrupted(sandbox, code):
    async with await sandbox.open(limits=Limits(wall_seconds=1.0)) as session:
        assert (await session.run("kept = 5\n" + code)).status == "ok"
        result = await session.run("while True: pass")
        assert (result.status, result.state_lost) == ("timeout", False)
        assert (await session.run("kept")).output == "5\n"


async def test_no_other_kind_of_alarm_can_be_had(session):
    result = await session.run(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\ntimer = ctypes.c_void_p()\n"
        "made = libc.timer_create(0, None, ctypes.byref(timer)), libc.timerfd_create(1, 0)\n"
        "made, errno.errorcode[ctypes.get_errno()]"
    )
    assert result.output == "((-1, -1), 'EPERM')\n"
