"""Several engines behind one Completer: the same answers, siblings together, and deaths that hurt nobody else."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from podium.answering import Sampling
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate.parallel import ParallelCompleter, choose_replica
from podium.generate.replica import EngineSpec
from podium.models import save_model
from podium.records import Attempt as AttemptRow
from podium.records import Message, Problem
from podium.solve import ExamConfig, sit_exam
from podium.storage import read_rows
from tests.generate.conftest import answer, random_model, read

ROWS = 8
LONG = Sampling(max_tokens=900)
SAMPLED = Sampling(max_tokens=40, temperature=1.0)
BACKENDS = [
    "process",
    # A cluster of Ray takes a minute to start its workers on two cores.
    pytest.param("ray", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def model(tokenizer):
    """A model whose greedy answers never end: the logits of stop tokens are 0, below the best of the others."""
    model = random_model(tokenizer)
    with torch.no_grad():
        model.unembedding.weight[list(tokenizer.stop_ids)] = 0
    return model


@pytest.fixture(scope="module")
def spec(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, model, tokenizer)
    return EngineSpec(folder, "twins", {"max_rows": ROWS})


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    if request.param == "ray":
        import ray

        # Actors wait for processors of their own: as many as the tests hold at once.
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
        yield "ray"
        ray.shutdown()
    else:
        yield request.param


@pytest.fixture(scope="module")
def twins(spec, backend):
    """Two replicas for the tests that leave them as they were."""
    completer = ParallelCompleter(spec, 2, backend=backend)
    yield completer
    asyncio.run(completer.close())


@pytest.fixture
def open_twins(spec, backend):
    """Makes replicas that a test may kill."""
    opened = []

    def make(of=None, replicas=2):
        opened.append(ParallelCompleter(of or spec, replicas, backend=backend))
        return opened[-1]

    yield make
    for completer in opened:
        asyncio.run(completer.close())


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def switchboards():
    return {thread for thread in threading.enumerate() if thread.name == "replicas of twins"}


def open_descriptors():
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return {target for target in found if target.startswith(("socket:", "pipe:", "anon_inode:"))}


async def until(happened, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def processes(completer):
    return [int(figures["process"]) for figures in await completer.counts()]


async def open_counts(completer):
    return [int(figures["open"]) for figures in await completer.counts()]


# Where a prompt goes.

loads = st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=6)


@given(loads, st.integers(1, 64))
def test_a_prompt_goes_to_a_replica_that_knows_it_unless_that_one_is_overloaded(replicas, rows):
    load, seen = [count for count, _ in replicas], [known for _, known in replicas]
    chosen = choose_replica(load, seen, [0] * len(load), rows)
    known = [count for count, knows in replicas if knows]
    if seen[chosen]:
        assert load[chosen] == min(known)
    else:
        assert load[chosen] == min(load)
        # Either nobody knew it, or whoever did was busier than that.
        assert not known or min(known) > min(load)
    assert load[chosen] < min(load) + max(2, rows // 4)
    assert load[chosen] < rows or min(load) >= rows or load[chosen] == min(load)


def test_siblings_share_a_replica_and_leave_no_other_idle():
    def spread(prompts, rows, replicas=2):
        homes = [set() for _ in range(replicas)]
        load = [0] * replicas
        where = []
        for prompt in prompts:
            chosen = choose_replica(load, [prompt in home for home in homes], [len(home) for home in homes], rows)
            homes[chosen].add(prompt)
            load[chosen] += 1
            where.append((prompt, chosen))
        return load, {prompt: {chosen for p, chosen in where if p == prompt} for prompt in set(prompts)}

    load, homes = spread([problem for problem in "abcdefgh" for _ in range(12)], rows=48)
    assert load == [48, 48]
    assert all(len(home) == 1 for home in homes.values())
    load, homes = spread("abcdefgh" * 12, rows=48)
    assert load == [48, 48]
    assert all(len(home) == 1 for home in homes.values())
    load, _ = spread("a" * 12, rows=6)
    assert load == [6, 6]


# Answers.


async def test_answers_are_those_of_one_engine_whichever_replica_gives_them(twins, make_engine):
    engine = make_engine(max_rows=ROWS)
    prompts = ["What is 12 + 31?", [5, 9, 5, 200, 17], [Message(role="user", content="18271 * 43432?")]]
    for prompt in prompts:
        for settings in ({"temperature": 0.0}, {"seed": 3}, {"seed": 4, "top_p": 0.9}):
            expected = await answer(engine, prompt, SAMPLED, **settings)
            # More than fit one replica: both answer.
            given = await asyncio.gather(*(answer(twins, prompt, SAMPLED, **settings) for _ in range(ROWS + 4)))
            assert all(tokens == expected for tokens in given)
    assert all(figures["completions"] >= ROWS for figures in await twins.counts())


async def test_pieces_usage_and_continuation_are_those_of_one_engine(twins, make_engine):
    async def story(completer):
        completion = await completer.start("1 2 3", Sampling(max_tokens=300, temperature=1.5, seed=8, stop=("a", "e")))
        first = await read(completion)
        assert first[2].finish == "stop"
        await completion.extend(" and the output is 42\n")
        second = await read(completion)
        return first, second, await completion.cancel()

    (text, tokens, last), (more, others, end), usage = await story(twins)
    (text_, tokens_, last_), (more_, others_, end_), usage_ = await story(make_engine(max_rows=ROWS))
    assert (text, tokens, last.stop) == (text_, tokens_, last_.stop)
    assert (more, others, end.finish) == (more_, others_, end_.finish)
    assert usage == usage_


async def test_attempts_at_one_prompt_compute_it_once(twins):
    before = await twins.counts()
    prompt = "A prompt that nobody has sent before: " + "7 + 8 " * 20
    tokens = await asyncio.gather(*(answer(twins, prompt, SAMPLED, seed=seed) for seed in range(2)))
    changes = [
        {name: now[name] - then[name] for name in now} for now, then in zip(await twins.counts(), before, strict=True)
    ]
    assert sorted(change["completions"] for change in changes) == [0, 2]
    (busy,) = [change for change in changes if change["completions"]]
    # The last token of an answer is drawn and not computed.
    assert busy["computed_tokens"] == busy["prompt_tokens"] // 2 + sum(len(each) - 1 for each in tokens)


async def test_what_is_wrong_with_a_request_is_raised_at_its_start_and_hurts_no_other(twins):
    with pytest.raises(PromptTooLong, match="tokens, the context"):
        await twins.start([5] * 5000, SAMPLED)
    with pytest.raises(InputError, match="outside the vocabulary"):
        await twins.start([10**6], SAMPLED)
    with pytest.raises(InputError, match="top_p"):
        await twins.start("x", Sampling(top_p=0))
    completion = await twins.start("x", SAMPLED)
    with pytest.raises(CompleterError, match="still running"):
        await completion.extend("y")
    await completion.cancel()
    assert [figures["restarts"] for figures in await twins.counts()] == [0, 0]


async def test_cancelling_or_dropping_frees_in_the_replica(twins):
    completion = await twins.start("x", LONG)
    first = await anext(aiter(completion))
    assert sum(await open_counts(twins)) == 1
    usage = await completion.cancel()
    assert await open_counts(twins) == [0, 0]
    assert len(first.tokens) <= usage.completion_tokens < LONG.max_tokens
    assert await completion.cancel() == usage
    rest = [piece async for piece in completion]
    assert rest[-1].finish == "cancelled"

    paused = await twins.start("1 2 3", Sampling(max_tokens=300, temperature=1.5, seed=8, stop=("a", "e")))
    await read(paused)
    assert sum(await open_counts(twins)) == 1
    await paused.cancel()
    assert await open_counts(twins) == [0, 0]
    with pytest.raises(CompleterError, match="cancelled"):
        await paused.extend("z")

    dropped = await twins.start("x", LONG)
    del dropped
    deadline = time.monotonic() + 60
    while any(await open_counts(twins)):
        assert time.monotonic() < deadline


async def test_a_start_that_is_given_up_leaves_nothing_behind(twins):
    for _ in range(20):
        starting = asyncio.create_task(twins.start("x", LONG))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        del starting
    deadline = time.monotonic() + 60
    while any(await open_counts(twins)):
        assert time.monotonic() < deadline


def test_one_completer_serves_several_event_loops(twins):
    first = asyncio.run(answer(twins, "x", SAMPLED, seed=1))
    assert asyncio.run(answer(twins, "x", SAMPLED, seed=1)) == first


async def test_an_exam_is_sat_as_by_one_engine(twins, make_engine, tmp_path):
    problems = [Problem(id=name, text=f"What is {name}?", answer="2") for name in ("1 + 1", "4 - 2")]
    config = ExamConfig(attempts=12, overrides={"temperature": 1.0, "top_p": 1.0, "max_tokens": 30})
    engine = make_engine(max_rows=12)
    texts = []
    for completer in (twins, engine):
        folder = tmp_path / str(len(texts))
        await sit_exam(problems, completer, None, config, folder)
        texts.append([attempt.text for attempt in read_rows(folder / "attempts.jsonl", AttemptRow)])
    assert len(texts[0]) == 24
    assert texts[0] == texts[1]


# Deaths.


async def test_a_killed_replica_fails_its_own_completions_and_comes_back(open_twins, make_engine):
    twins = open_twins()
    before = await processes(twins)
    prompts = ["first", "second"]
    expected = [await answer(make_engine(), prompt, LONG) for prompt in prompts]
    running = [await twins.start(prompt, LONG) for prompt in prompts]  # one in each: the other is less loaded
    for completion in running:
        await anext(aiter(completion))
    assert await open_counts(twins) == [1, 1]
    victim, other = running
    index = 0  # of equals the first was taken first
    os.kill(before[index], signal.SIGKILL)
    with pytest.raises(CompleterError, match=f"replica {index} of twins") as told:
        await read(victim)
    assert told.value.cure
    assert (await victim.cancel()).completion_tokens > 0
    # At once, wherever it goes.
    assert await answer(twins, prompts[0], LONG) == expected[0]
    _, tokens, last = await read(other)
    assert last.finish == "length"
    assert tokens == expected[1][-len(tokens) :]
    deadline = time.monotonic() + 60
    while not all("process" in figures for figures in await twins.counts()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    after = await twins.counts()
    assert [figures["restarts"] for figures in after] == [int(i == index) for i in range(2)]
    assert after[index]["process"] != before[index]
    assert after[1 - index]["process"] == before[1 - index]
    assert await asyncio.gather(*(answer(twins, p, LONG) for p in prompts)) == expected


async def test_a_replica_that_keeps_dying_is_given_up_and_nobody_waits_for_it(open_twins, monkeypatch):
    monkeypatch.setattr("podium.generate.parallel.RESTARTS", 1)
    single = open_twins(replicas=1)
    os.kill((await processes(single))[0], signal.SIGKILL)
    assert await answer(single, "x", SAMPLED)  # waits for the restart
    os.kill((await processes(single))[0], signal.SIGKILL)
    with pytest.raises(CompleterError, match="no replica of twins is left"):
        await answer(single, "x", SAMPLED)


async def test_closing_tells_readers_and_leaves_no_process_thread_or_descriptor(spec, backend, open_twins):
    if backend == "ray":
        pytest.skip("Ray keeps its own")
    threads, descriptors = switchboards(), open_descriptors()
    twins = open_twins(replicas=1)
    children = await processes(twins)
    crowd = [await twins.start(f"x{number}", LONG) for number in range(60)]
    running = crowd[-1]
    reading = [asyncio.create_task(read(each)) for each in crowd]
    begun = time.monotonic()
    await asyncio.wait_for(twins.close(), 60)
    assert not any(alive(child) for child in children), f"after {time.monotonic() - begun:.2f} s"
    ends = await asyncio.gather(*reading, return_exceptions=True)
    cut = [end for end in ends if isinstance(end, BaseException)]
    assert cut  # more than can be done while it closes
    assert all(isinstance(end, CompleterError) and "closed" in str(end) for end in cut)
    with pytest.raises(CompleterError, match="closed"):
        await twins.start("x", SAMPLED)
    assert (await running.cancel()).prompt_tokens >= 0
    await twins.close()
    assert open_descriptors() <= descriptors
    assert switchboards() == threads


PARENT = """
import asyncio, sys
from podium.answering import Sampling
from podium.generate.parallel import ParallelCompleter
from podium.generate.replica import EngineSpec

async def main():
    twins = ParallelCompleter(EngineSpec(sys.argv[1], "twins", {"max_rows": 8}), 1)
    running = [await twins.start("x", Sampling(max_tokens=900)) for _ in range(4)]
    print(*[int(figures["process"]) for figures in await twins.counts()], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["kill", "interrupt the group"])
async def test_replicas_do_not_outlive_their_parent(spec, how):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(spec.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as parent:
        line = await asyncio.to_thread(parent.stdout.readline)
        children = [int(word) for word in line.split()]
        assert len(children) == 1
        assert all(alive(child) for child in children)
        if how == "kill":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGINT)
        await until(lambda: not any(alive(child) for child in children), 3.0)
        error = await asyncio.to_thread(parent.stderr.read)
        # Only the parent had something to say.
        assert "replica.py" not in error


async def test_children_ignore_the_interrupt(twins, backend):
    if backend == "ray":
        pytest.skip("Ray's workers are Ray's")
    for child in await processes(twins):
        os.kill(child, signal.SIGINT)
        assert os.getpgid(child) != os.getpgid(0)
    assert await answer(twins, "x", SAMPLED)
    assert [figures["restarts"] for figures in await twins.counts()] == [0, 0]


def test_more_replicas_than_the_cluster_has_processors_are_refused_and_not_waited_for(spec, backend):
    if backend == "process":
        pytest.skip("processes share processors")
    with pytest.raises(CompleterError, match="8 processors"):
        ParallelCompleter(spec, 9, backend=backend)


def test_a_folder_without_a_model_is_told_of_when_the_completer_is_made(spec, backend, tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        ParallelCompleter(replace(spec, folder=tmp_path), 1, backend=backend)
    with pytest.raises(InputError, match="at least 1"):
        ParallelCompleter(spec, 0, backend=backend)
    with pytest.raises(CompleterError, match="memory_bytes"):
        ParallelCompleter(replace(spec, options={"memory_bytes": 10}), 1, backend=backend)
