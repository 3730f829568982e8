import asyncio
from dataclasses import replace

import pytest
import torch

from podium.answering import Sampling
from podium.generate import Engine
from podium.generate.step import shares
from podium.models import Transformer, TransformerConfig
from podium.text import train_tokenizer

TEXTS = (
    "What is 12 + 31? I add the tens and the ones: 43. The sum is \\boxed{43}.\n",
    "<tool_call>\nprint(18271 * 43432)\n</tool_call>\n```output\n793546072\n```\n",
    "Die Größe beträgt 37 µm – naïve façade, 数学の問題。\n",
)


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS * 3, 400)


def random_model(tokenizer, kind="llama", seed=0, **sizes):
    """A small model with weights large enough that its greedy answers wander."""
    shape = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "eos_token_id": (tokenizer.eos_id,),
        **sizes,
    }
    config = TransformerConfig(kind=kind, vocab_size=tokenizer.vocab_size, **shape)
    return Transformer(config).initialise(seed, std=0.15)


@pytest.fixture(scope="session")
def model(tokenizer):
    return random_model(tokenizer)


@pytest.fixture
def make_engine(model, tokenizer):
    """Engines that are closed when the test is over."""
    engines = []

    def make(of=None, **options):
        torch.manual_seed(0)
        engine = Engine(of or model, tokenizer, **{"max_rows": 8, "threads": 1, **options})
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        asyncio.run(engine.close())


async def read(completion):
    """(text, tokens, last piece) up to the next finish."""
    pieces = [piece async for piece in completion]
    return "".join(p.text for p in pieces), [t for p in pieces for t in p.tokens], pieces[-1]


async def answer(engine, prompt, sampling=None, **settings):
    """Tokens of one answer, from beginning to end."""
    completion = await engine.start(prompt, replace(sampling or Sampling(max_tokens=40), **settings))
    _, tokens, _ = await read(completion)
    return tokens


def memory_for(blocks, runner):
    """The least memory_bytes that give an engine so many blocks."""
    memory_bytes = blocks * runner.block_bytes
    while shares(runner, memory_bytes)[0] < blocks:
        memory_bytes += 1
    return memory_bytes
