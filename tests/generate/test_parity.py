"""Greedy answers are those of transformers' generate, however they are scheduled."""

import asyncio
import random
from dataclasses import dataclass

import pytest
import torch

from podium.answering import Sampling
from podium.models import RopeConfig, save_model
from podium.models.families.family import Mixture
from tests.generate.conftest import memory_for, random_model, read

KINDS = {
    "llama": {"attention_bias": True, "tie_word_embeddings": True},
    "qwen2": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "qwen3": {"num_key_value_heads": 4, "head_dim": 32},
    "mistral": {"sliding_window": 40},
    "qwen3_moe": {"mixture": Mixture(6, 2, 40, normalised=True, dense_layers=(1,)), "num_hidden_layers": 3},
}
CAPTURED = [kind for kind in KINDS if not {"sliding_window", "mixture"} & KINDS[kind].keys()]
"""Those whose steps a GPU replays as graphs."""
PROMPTS = 67  # of each kind
LENGTH = 24
APPENDED = "\n```output\n793546072\n```\n"


@dataclass
class Oracle:
    """transformers' model, and what it says to the prompts."""

    tokenizer: object
    model: object
    oracle: object
    prompts: list
    answers: list

    def generate(self, prompts, length=LENGTH):
        """Greedy answers; many prompts at once, padded on the left."""
        longest = max(map(len, prompts))
        pad = self.tokenizer.pad_id
        tokens = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        stops = sorted(self.tokenizer.stop_ids)
        found = self.oracle.generate(
            tokens, attention_mask=mask, max_new_tokens=length, do_sample=False, eos_token_id=stops, pad_token_id=pad
        )[:, longest:].tolist()
        ends = [next((i + 1 for i, token in enumerate(row) if token in stops), length) for row in found]
        return [row[:end] for row, end in zip(found, ends, strict=True)]

    def check(self, prompt, found, expected):
        """Equal; or from the first difference on two tokens that transformers finds equally likely up to rounding."""
        if found == expected:
            return
        same = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
        assert same is not None, f"{len(found)} tokens, {len(expected)} expected"
        with torch.no_grad():
            logits = self.oracle(torch.tensor([prompt + expected[:same]])).logits[0, -1]
        assert abs(logits[found[same]] - logits[expected[same]]) < 1e-4 * logits.abs().max(), (prompt, same)


@pytest.fixture(scope="module", params=KINDS)
def oracle(request, tokenizer, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    model = random_model(tokenizer, request.param, seed=3, **KINDS[request.param])
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, model, tokenizer)
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rng = random.Random(1)
    lengths = [1, 2, 31, 32, 33, 63, 64, 65, 96, 200, 300] + [rng.randrange(1, 120) for _ in range(PROMPTS - 11)]
    prompts = [[rng.randrange(tokenizer.vocab_size - 5) for _ in range(length)] for length in lengths]
    oracle = Oracle(tokenizer, model, reference, prompts, [])
    oracle.answers = oracle.generate(prompts)
    return oracle


async def check_all(engine, oracle, **settings):
    completions = [await engine.start(p, Sampling(max_tokens=LENGTH, **settings)) for p in oracle.prompts]
    found = await asyncio.gather(*[read(completion) for completion in completions])
    for prompt, (_, tokens, _), expected in zip(oracle.prompts, found, oracle.answers, strict=True):
        oracle.check(prompt, tokens, expected)
    return [await completion.cancel() for completion in completions]


async def test_batched(oracle, make_engine):
    engine = make_engine(oracle.model, max_rows=PROMPTS, format="fp32")
    await check_all(engine, oracle)
    assert engine.stats().preemptions == 0


async def test_in_chunks(oracle, make_engine):
    engine = make_engine(oracle.model, max_rows=5, step_tokens=7, format="fp32")
    await check_all(engine, oracle)
    computed = sum(map(len, oracle.prompts)) + sum(len(answer) - 1 for answer in oracle.answers)
    assert engine.stats().computed_tokens == computed
    # A step had room for 5 rows and a block, no more.
    assert engine.stats().steps >= computed / (5 + engine._core.runner.block_size)


async def test_in_chunks_in_the_torch_runner(oracle, make_engine):
    some = Oracle(oracle.tokenizer, oracle.model, oracle.oracle, oracle.prompts[:9], oracle.answers[:9])
    engine = make_engine(oracle.model, max_rows=8, step_tokens=40, kernel="torch")
    assert engine.description.startswith("torch")
    await check_all(engine, some)
    await check_all(engine, some)  # now from blocks that are there


async def test_forked(oracle, make_engine):
    engine = make_engine(oracle.model, max_rows=12, format="fp32")
    attempts = 4
    some = list(zip(oracle.prompts, oracle.answers, strict=True))[:20]
    completions = [await engine.start(p, Sampling(max_tokens=LENGTH)) for p, _ in some for _ in range(attempts)]
    found = await asyncio.gather(*[read(completion) for completion in completions])
    for i, (_, tokens, _) in enumerate(found):
        oracle.check(some[i // attempts][0], tokens, some[i // attempts][1])
    usages = [await completion.cancel() for completion in completions]
    for i, (prompt, answer) in enumerate(some):
        computed = sum(usage.computed_tokens for usage in usages[i * attempts : (i + 1) * attempts])
        assert computed == len(prompt) + attempts * (len(answer) - 1), "a prompt is computed once"
    assert engine.stats().blocks_used == 0


async def test_paused_and_resumed(oracle, make_engine):
    tokenizer = oracle.tokenizer
    engine = make_engine(oracle.model, max_rows=6, format="fp32")
    appended = tokenizer.encode(APPENDED)

    async def attempt(prompt, answer):
        # Pausing at a token leaves the context as it is, whatever its text.
        pause = answer[len(answer) // 2]
        before = answer[: answer.index(pause) + 1]
        sampling = Sampling(max_tokens=len(before) + LENGTH, stop_token_ids=(pause,), ignore_eos=True)
        completion = await engine.start(prompt, sampling)
        _, first, last = await read(completion)
        await completion.extend(APPENDED)
        _, second, _ = await read(completion)
        usage = await completion.cancel()
        expected = len(prompt) + len(first) + len(appended) + len(second) - 1
        return prompt, before, first, last, second, usage, expected

    results = await asyncio.gather(*[attempt(*pair) for pair in zip(oracle.prompts, oracle.answers, strict=True)])
    continued = oracle.generate([prompt + before + appended for prompt, before, *_ in results])
    paused = 0
    for (prompt, before, first, last, second, usage, computed), expected in zip(results, continued, strict=True):
        oracle.check(prompt, first, before)
        assert usage.computed_tokens == computed, "each token once, whatever the pauses"
        if first == before:
            paused += 1
            assert (last.finish, last.stop_token) == ("stop", before[-1])
            kept = min(len(second), len(expected))
            oracle.check(prompt + before + appended, second[:kept], expected[:kept])
    assert paused > PROMPTS * 0.9


async def test_preempted(oracle, make_engine):
    runner = make_engine(oracle.model, format="fp32")._core.runner
    engine = make_engine(oracle.model, max_rows=8, memory_bytes=memory_for(12, runner), format="fp32")
    prompts = sorted(oracle.prompts, key=len)[:40]
    answers = oracle.generate(prompts, 100)
    sampling = Sampling(max_tokens=100)
    completions = [await engine.start(prompt, sampling) for prompt in prompts]
    found = await asyncio.gather(*[read(completion) for completion in completions])
    for prompt, (_, tokens, _), expected in zip(prompts, found, answers, strict=True):
        oracle.check(prompt, tokens, expected)
    stats = engine.stats()
    assert stats.preemptions > 0
    assert stats.computed_tokens > sum(map(len, prompts)) + sum(len(answer) - 1 for answer in answers)
    assert stats.blocks_total == 12
    assert stats.blocks_used == 0


class Prompter:
    """Knows the answers, and is wrong about some of them."""

    taps = (0,)

    def __init__(self, answers):
        self.answers = answers  # (prompt, answer)
        self.rng = random.Random(0)
        self.told = 0

    def propose(self, requests, states, budget):
        drafts = []
        for request in requests:
            assert request.row is not None
            assert states[request.row].isfinite().all()
            assert states.shape[1] == 2 * 64  # the tapped layer stands behind the last state
            answer = next(a for p, a in self.answers if request.tokens[: len(p)] == p and len(p) <= len(request.tokens))
            at = len(request.tokens) - next(len(p) for p, a in self.answers if a is answer)
            draft = answer[at : at + self.rng.randrange(6)]
            if draft and self.rng.random() < 0.5:
                wrong = self.rng.randrange(len(draft))
                draft = [*draft[:wrong], (draft[wrong] + 1) % 300, *draft[wrong + 1 :]]
            draft = draft[: request.limit] if self.rng.random() < 0.8 else draft
            drafts.append(draft[: max(0, budget)])
            budget -= len(drafts[-1])
        return drafts

    def rests(self, rows):
        return False

    def expect(self, seconds):
        pass

    def timed(self, rows, seconds, tokens):
        assert rows >= 1
        assert seconds > 0
        self.told += tokens


async def test_speculated(oracle, make_engine):
    long_enough = [i for i, prompt in enumerate(oracle.prompts) if len(prompt) > 2]  # a prompt must name its answer
    chosen = Oracle(
        oracle.tokenizer,
        oracle.model,
        oracle.oracle,
        [oracle.prompts[i] for i in long_enough],
        [oracle.answers[i] for i in long_enough],
    )
    proposer = Prompter(list(zip(chosen.prompts, chosen.answers, strict=True)))
    engine = make_engine(oracle.model, max_rows=9, proposer=proposer, format="fp32")
    usages = await check_all(engine, chosen)
    stats = engine.stats()
    assert stats.draft_tokens > stats.accepted_tokens > stats.generated_tokens / 4
    assert sum(usage.extra.get("accepted_tokens", 0) for usage in usages) == stats.accepted_tokens
    assert sum(usage.computed_tokens for usage in usages) == stats.computed_tokens
    # Steps that also computed prompts are not timed.
    assert 0 < proposer.told <= stats.generated_tokens


STRETCHED = {
    "linear": RopeConfig(kind="linear", factor=3.0),
    "dynamic": RopeConfig(kind="dynamic", factor=3.0),
    "yarn": RopeConfig(kind="yarn", factor=3.0, original_max_position_embeddings=64, mscale=1.0, mscale_all_dim=0.5),
}


@pytest.mark.parametrize("kind", STRETCHED)
def test_answers_beyond_the_trained_context_are_those_of_transformers(kind, tokenizer, tmp_path, make_engine):
    """Some prompts begin alike, and some end before the trained length, which their answers pass."""
    transformers = pytest.importorskip("transformers")
    model = random_model(tokenizer, seed=3, max_position_embeddings=64, rope=STRETCHED[kind])
    save_model(tmp_path, model, tokenizer)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    rng = random.Random(2)
    long = [rng.randrange(tokenizer.vocab_size - 5) for _ in range(150)]
    prompts = [long[:50], long[:63], long[:64], long[:65], long[:100], long, long[:100]]
    oracle = Oracle(tokenizer, model, reference, prompts, [])
    for prompt in prompts:
        reference(torch.tensor([[5]]))  # or "dynamic" would remember the longest prompt before this one
        oracle.answers += oracle.generate([prompt])
    # A step of few tokens cuts prompts into chunks.
    engine = make_engine(model, step_tokens=48, format=None if kind == "dynamic" else "fp32")
    assert engine.context == 192
    asyncio.run(check_all(engine, oracle))
    asyncio.run(check_all(engine, oracle))  # now from blocks that are there
