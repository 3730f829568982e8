"""With a given seed, an answer does not depend on what else the engine does."""

import asyncio
import random
from dataclasses import replace

import pytest

from podium.generate import Sampling
from tests.generate.conftest import random_model

PROMPTS = ["What is 12 + 31?", "Die", "print(1)\n" * 30, "43" * 9, "The sum of the tens and the ones is" * 3, "?"]
STYLES = [
    Sampling(),
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_p=0.9),
    Sampling(temperature=1.2, top_k=20),
    Sampling(temperature=1.5, min_p=0.05, top_p=0.99),
]


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
async def test_alone_and_in_a_crowd(sizes, tokenizer, make_engine):
    model = random_model(tokenizer, seed=2, **sizes)
    alone = make_engine(model, max_rows=1)
    wanted = list(requests(14, 200))
    expected = [await answer(alone, prompt, **options) for prompt, options in wanted]
    crowd = make_engine(model, max_rows=13)
    assert await asyncio.gather(*[answer(crowd, prompt, **options) for prompt, options in wanted]) == expected
    shuffled = list(range(len(wanted)))
    random.Random(0).shuffle(shuffled)
    other = make_engine(model, max_rows=30)

    async def disturb():
        for seed in range(30):
            noise = await other.start(PROMPTS[seed % 6], Sampling(max_tokens=500, temperature=1.0, seed=-seed))
            await asyncio.sleep(0.005)
            await noise.cancel()

    noise = asyncio.create_task(disturb())
    found = await asyncio.gather(*[answer(other, wanted[i][0], **wanted[i][1]) for i in shuffled])
    await noise
    assert found == [expected[i] for i in shuffled]


async def test_the_number_of_attempts_changes_none_of_them(make_engine):
    sampling = Sampling(max_tokens=60, temperature=1.0)
    few = await asyncio.gather(*[answer(e, PROMPTS[0], sampling, seed=i) for e in [make_engine()] for i in range(2)])
    many = await asyncio.gather(*[answer(e, PROMPTS[0], sampling, seed=i) for e in [make_engine()] for i in range(20)])
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


async def test_pauses_and_scarce_memory_change_nothing(make_engine, model):
    roomy = make_engine()
    expected = [(await paused_answer(roomy, PROMPTS[seed % 6], seed, 0))[0] for seed in range(16)]
    assert any(len(tokens) > 2 for tokens in expected)
    crowded = make_engine(max_rows=6)
    found = await asyncio.gather(*[paused_answer(crowded, PROMPTS[s % 6], s, 0.01) for s in range(16)])
    assert [tokens for tokens, _ in found] == expected
    # Memory for four contexts of the shortest kind: caches are given up and rebuilt all the time.
    position = crowded._core.runner.shape.bytes_per_position
    tight = make_engine(max_rows=24, memory_bytes=4 * 512 * position)
    found = await asyncio.gather(*[paused_answer(tight, PROMPTS[s % 6], s, 0.01) for s in range(16)])
    assert [tokens for tokens, _ in found] == expected
    assert tight._core.scheduler.nbytes <= 4 * 512 * position
    needed = sum(usage.completion_tokens + usage.appended_tokens for _, usage in found)
    assert sum(usage.computed_tokens for _, usage in found) > needed, "nothing had to be rebuilt: make it tighter"


@pytest.mark.parametrize("row_counts", [(4,), (1,)])
async def test_machines_with_fewer_safe_row_counts(row_counts, make_engine):
    """Where wide products give other bits, rows are computed in groups."""
    engine = make_engine()
    engine._core.runner.row_counts = row_counts
    together = await asyncio.gather(*[answer(engine, prompt, seed=i) for i, prompt in enumerate(PROMPTS)])
    assert together == [await answer(engine, prompt, seed=i) for i, prompt in enumerate(PROMPTS)]
