"""Readers on event loops of their own, woken by another thread."""

import asyncio
import threading

from podium.generate import delivery
from podium.generate.delivery import Delivery, Output, Reader, Waiters, wake


def test_readers_wait_until_the_next_delivery_and_those_of_an_ending_do_not(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    box, one, other = Delivery(), Reader(False), Reader(False)
    box.add(one, ended=False)
    box.deliver()
    assert one.ready
    one.ready = False
    now[0] += delivery.DELIVERY_SECONDS / 2
    box.add(one, ended=False)
    box.add(other, ended=True)
    box.deliver()
    assert (one.ready, other.ready) == (False, True)
    now[0] += delivery.DELIVERY_SECONDS
    box.deliver()
    assert one.ready


def test_everybody_is_told_at_the_end(monkeypatch):
    monkeypatch.setattr(delivery.time, "monotonic", lambda: 100.0)
    box, reader = Delivery(), Reader(False)
    box.deliver(everybody=True)
    box.add(reader, ended=False)
    box.deliver()
    assert not reader.ready
    box.deliver(everybody=True)
    assert reader.ready


def test_a_piece_ends_at_the_first_finish():
    reader = Reader(top_logprobs=True)
    reader.outbox += [Output("a", 1, -0.5, ((1, -0.5),)), Output("b", 2, -1.0, (), "stop", "b"), Output("c", 3)]
    first, second = reader.drain(), reader.drain()
    assert first is not None
    assert (first.text, first.tokens, first.logprobs, first.finish, first.stop) == (
        "ab",
        (1, 2),
        (-0.5, -1.0),
        "stop",
        "b",
    )
    assert first.top_logprobs == (((1, -0.5),), ())
    assert second is not None
    assert (second.text, second.finish) == ("c", None)
    assert reader.drain() is None


def test_tasks_of_several_loops_are_woken_and_closed_loops_are_forgotten():
    waiters, happened, woken = Waiters(), [], []

    async def wait(name, arrived):
        waiting = asyncio.create_task(waiters.until(lambda: happened))
        await asyncio.sleep(0)
        arrived.set()
        await asyncio.wait_for(waiting, 20)
        woken.append(name)

    async def give_up():
        waiting = asyncio.create_task(waiters.until(lambda: happened))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    threads = []
    for name in ("one", "other"):
        arrived = threading.Event()
        threads.append(threading.Thread(target=lambda name=name, arrived=arrived: asyncio.run(wait(name, arrived))))
        threads[-1].start()
        assert arrived.wait(20)
    happened.append(True)
    wake(waiters.take())
    for thread in threads:
        thread.join(20)
    assert sorted(woken) == ["one", "other"]
    assert waiters.take() == []
