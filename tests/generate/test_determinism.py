"""With a given seed, an answer does not depend on what else the engine does, to the last bit.

Promised where the runner is invariant. The torch runner rounds differently for different numbers of rows, so that it
promises only that the same schedule gives the same bits.
"""

import asyncio
import random
from dataclasses import replace

import pytest

from podium.answering import Sampling
from tests.generate.conftest import memory_for, random_model

PROMPTS = ["What is 12 + 31?", "Die", "print(1)\n" * 30, "43" * 9, "The sum of the tens and the ones is" * 3, "?"]
STYLES = [
    Sampling(),
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_p=0.9),
    Sampling(temperature=1.2, top_k=20),
    Sampling(temperature=1.5, min_p=0.05, top_p=0.99),
]


@pytest.fixture
def invariant_engine(make_engine):
    probe = make_engine()
    if not probe._core.runner.invariant:
        pytest.skip(f"no invariant runner here: {probe.description}")
    return make_engine


async def read(completion):
    """(tokens with their exact log-probabilities, last piece): a wrong bit shows there long before a wrong token."""
    pieces = [piece async for piece in completion]
    pairs = [pair for piece in pieces for pair in zip(piece.tokens, piece.logprobs, strict=True)]
    return pairs, pieces[-1]


async def answer(engine, prompt, sampling=None, **settings):
    completion = await engine.start(prompt, replace(sampling or Sampling(max_tokens=40), **settings))
    return (await read(completion))[0]


def requests(count, tokens):
    rng = random.Random(1)
    for seed in range(count):
        yield (
            PROMPTS[rng.randrange(len(PROMPTS))],
            {
                "sampling": STYLES[rng.randrange(len(STYLES))],
                "seed": seed,
                "max_tokens": rng.randrange(1, tokens),
            },
        )


@pytest.mark.parametrize(
    "sizes",
    [{}, {"num_attention_heads": 8, "num_key_value_heads": 1}, {"num_key_value_heads": 4, "head_dim": 32}],
)
async def test_alone_and_in_a_crowd(sizes, tokenizer, invariant_engine):
    model = random_model(tokenizer, seed=2, **sizes)
    alone = invariant_engine(model, max_rows=1)
    wanted = list(requests(14, 200))
    expected = [await answer(alone, prompt, **options) for prompt, options in wanted]
    crowd = invariant_engine(model, max_rows=13)
    assert await asyncio.gather(*[answer(crowd, prompt, **options) for prompt, options in wanted]) == expected
    shuffled = list(range(len(wanted)))
    random.Random(0).shuffle(shuffled)
    other = invariant_engine(model, max_rows=30)

    async def disturb():
        for seed in range(30):
            noise = await other.start(PROMPTS[seed % 6], Sampling(max_tokens=500, temperature=1.0, seed=-seed))
            await asyncio.sleep(0.005)
            await noise.cancel()

    noise = asyncio.create_task(disturb())
    found = await asyncio.gather(*[answer(other, wanted[i][0], **wanted[i][1]) for i in shuffled])
    await noise
    assert found == [expected[i] for i in shuffled]


async def test_the_number_of_attempts_changes_none_of_them(invariant_engine):
    sampling = Sampling(max_tokens=60, temperature=1.0)
    few = await asyncio.gather(
        *[answer(e, PROMPTS[0], sampling, seed=i) for e in [invariant_engine()] for i in range(2)]
    )
    many = await asyncio.gather(
        *[answer(e, PROMPTS[0], sampling, seed=i) for e in [invariant_engine()] for i in range(20)]
    )
    assert many[:2] == few
    assert len({tuple(tokens) for tokens in many}) > 10


async def paused_answer(engine, prompt, seed, delay):
    """An answer interrupted at a common letter and fed with text each time."""
    completion = await engine.start(
        prompt, Sampling(max_tokens=150, temperature=1.0, seed=seed, stop=("1", "e", "i", "a"))
    )
    tokens = []
    for turn in range(5):
        more, last = await read(completion)
        tokens.append(more)
        if last.finish != "stop":
            break
        await asyncio.sleep(delay)
        await completion.extend(f"\n```output\n{seed} {turn}\n```\n" * (1 + seed % 3))
    usage = await completion.cancel()
    return tokens, usage


async def test_pauses_and_scarce_memory_change_nothing(invariant_engine):
    roomy = invariant_engine()
    expected = [(await paused_answer(roomy, PROMPTS[seed % 6], seed, 0))[0] for seed in range(16)]
    assert any(len(tokens) > 2 for tokens in expected)
    crowded = invariant_engine(max_rows=6)
    found = await asyncio.gather(*[paused_answer(crowded, PROMPTS[s % 6], s, 0.01) for s in range(16)])
    assert [tokens for tokens, _ in found] == expected
    assert crowded.stats().preemptions == 0
    # Hardly more memory than one context needs: caches are given up and rebuilt all the time.
    tight = invariant_engine(max_rows=24, memory_bytes=memory_for(16, roomy._core.runner), step_tokens=30)
    found = await asyncio.gather(*[paused_answer(tight, PROMPTS[s % 6], s, 0.01) for s in range(16)])
    assert [tokens for tokens, _ in found] == expected
    needed = sum(usage.completion_tokens + usage.appended_tokens for _, usage in found)
    stats = tight.stats()
    assert stats.computed_tokens > stats.prompt_tokens + needed, "nothing had to be rebuilt: make it tighter"


async def test_the_same_schedule_gives_the_same_bits(make_engine):
    wanted = list(requests(6, 60))
    runs = []
    for _ in range(2):
        engine = make_engine(kernel="torch", max_rows=1)
        runs.append([await answer(engine, prompt, **options) for prompt, options in wanted])
    assert runs[0] == runs[1]


async def test_another_schedule_gives_the_same_up_to_rounding(make_engine):
    """Seeds, and not the order of events, decide which token is drawn from given logits."""
    wanted = list(requests(14, 100))
    alone = make_engine(kernel="torch", max_rows=1)
    expected = [await answer(alone, prompt, **options) for prompt, options in wanted]
    crowd = make_engine(kernel="torch", max_rows=9, step_tokens=20)
    found = await asyncio.gather(*[answer(crowd, prompt, **options) for prompt, options in wanted])
    pairs = [pair for one, other in zip(expected, found, strict=True) for pair in zip(one, other, strict=False)]
    equal = [(a, b) for (token, a), (drawn, b) in pairs if token == drawn]
    assert len(equal) >= 0.98 * sum(map(len, expected))
    assert all(abs(a - b) < 1e-3 for a, b in equal[:300])
