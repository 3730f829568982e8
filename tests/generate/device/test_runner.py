"""Steps of fixed shape against the ordinary torch path, and whole answers against transformers."""

import asyncio
import random

import pytest
import torch

from podium.answering import Sampling
from podium.generate.device.buckets import ROWS
from podium.generate.device.runner import TOGETHER, GraphRunner
from podium.generate.drafters import guesser
from podium.generate.runner import Span, TorchRunner
from podium.generate.speculate import Fixed
from tests.generate.conftest import memory_for, random_model, read
from tests.generate.test_parity import CAPTURED, check_all, oracle  # noqa: F401

BLOCKS = 60


class Watched(GraphRunner):
    """Counts which way steps go."""

    def __init__(self, model):
        super().__init__(model)
        self.replayed = 0
        record = self.recorder.record

        def counting(work):
            replay = record(work)

            def run():
                self.replayed += 1
                replay()

            return run

        self.recorder.record = counting


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_steps_of_any_shape_are_those_of_the_torch_runner(tokenizer, kind):
    """Random steps over the same blocks: prompts, single tokens, guesses, in every order and number."""
    shape = {"num_key_value_heads": 1} if kind == "llama" else {"head_dim": 32}
    model = random_model(tokenizer, kind, **shape)
    plain, fixed = TorchRunner(model), Watched(model)
    for runner in (plain, fixed):
        runner.tap((0,))
        runner.allocate(BLOCKS)
    rng = random.Random(4)
    free = list(range(BLOCKS))
    rng.shuffle(free)
    sequences = [{"blocks": [], "length": 0} for _ in range(6)]
    steps = 60
    for _ in range(steps):
        spans = []
        for sequence in rng.sample(sequences, rng.randint(1, 6)):
            count = rng.choice([1, 1, 1, 1, 2, TOGETHER, rng.randint(9, 40)])
            if sequence["length"] + count > 8 * plain.block_size:
                sequence["length"] = 0  # its blocks are written anew
            while len(sequence["blocks"]) * plain.block_size < sequence["length"] + count:
                sequence["blocks"].append(free.pop())
            tokens = [rng.randrange(tokenizer.vocab_size) for _ in range(count)]
            spans.append(Span(tokens, sequence["length"], sequence["blocks"], rng.randint(0, count)))
            sequence["length"] += count
        if rng.random() < 0.1:
            source, target = sequences[0]["blocks"][:1], [free[-1]]
            if source:
                for runner in (plain, fixed):
                    runner.copy(source[0], target[0])
        expected, found = plain.step(spans), fixed.step(spans)
        for a, b in zip(expected, found, strict=True):
            assert a.shape == b.shape
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
    assert steps / 4 < fixed.replayed < steps


def test_many_rows_and_a_full_table(tokenizer):
    model = random_model(tokenizer, max_position_embeddings=128)
    plain, fixed = TorchRunner(model), Watched(model)
    for runner in (plain, fixed):
        runner.allocate(4)
    prompt = Span([1] * 127, 0, [2, 0, 3, 1], 1)
    last = Span([5], 127, [2, 0, 3, 1], 1)  # the last position of the model, in the last place of the pool
    crowd = [Span([token], 0, [0], 1) for token in range(ROWS[-1] + 1)]
    for spans in ([prompt], [last]):
        torch.testing.assert_close(fixed.step(spans)[0], plain.step(spans)[0], rtol=1e-4, atol=1e-4)
    assert fixed.replayed == 1
    assert len(fixed.step(crowd)[0]) == len(crowd)
    assert fixed.replayed == 1, "more rows than the largest shape go the ordinary way"


def test_padding_writes_to_nobody(tokenizer):
    model = random_model(tokenizer)
    runner = GraphRunner(model)
    runner.allocate(5)
    before = runner._pool.clone()
    runner.step([Span([3], 0, [1], 1), Span([4], 33, [2, 4], 1), Span([4], 0, [0], 1)])  # a shape of four rows
    changed = (runner._pool != before).flatten(4).any(-1).any(0).any(0).any(0).nonzero()[:, 0].tolist()
    assert changed == [0, 1, 4, 5], "block 5 is the one that padding has"


@pytest.mark.parametrize("oracle", CAPTURED, indirect=True)
async def test_answers_are_those_of_transformers(oracle, make_engine):  # noqa: F811
    engine = make_engine(oracle.model, max_rows=9, kernel="graphs")
    assert engine.description.startswith("graphs, fp32 on cpu")
    await check_all(engine, oracle)


@pytest.mark.parametrize("oracle", CAPTURED, indirect=True)
async def test_interrupted_and_guessed_answers_too(oracle, make_engine):  # noqa: F811
    prompts = sorted(oracle.prompts, key=len)[:24]
    answers = oracle.generate(prompts, 90)
    runner = make_engine(oracle.model, kernel="graphs")._core.runner
    engine = make_engine(
        oracle.model, max_rows=8, memory_bytes=memory_for(10, runner), kernel="graphs", proposer=Fixed(guesser())
    )
    completions = [await engine.start(prompt, Sampling(max_tokens=90)) for prompt in prompts]
    found = await asyncio.gather(*[read(completion) for completion in completions])
    for prompt, (_, tokens, _), expected in zip(prompts, found, answers, strict=True):
        oracle.check(prompt, tokens, expected)
    stats = engine.stats()
    assert stats.preemptions > 0
    assert stats.draft_tokens > 0
    assert stats.blocks_used == 0
