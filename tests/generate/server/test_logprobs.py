"""Log-probabilities through the server and the client: the engine's own, in chats and in completions."""

import pytest

from podium.answering import Sampling
from podium.answering.logprobs import read_logprobs
from podium.answering.openai import OpenAICompleter
from podium.generate.server.shapes import chat_logprobs, completion_logprobs
from podium.records import Message
from podium.solve.confidence import Confidence
from tests.text.test_decoding import LLAMA, ids

SAMPLING = Sampling(max_tokens=12, temperature=0.8, seed=3, top_logprobs=5, ignore_eos=True)


async def pieces_of(completer, prompt, sampling=SAMPLING):
    completion = await completer.start(prompt, sampling)
    return [piece async for piece in completion]


@pytest.mark.parametrize("prompt", ["What is 6 * 7?", [Message(role="user", content="What is 6 * 7?")]])
async def test_the_client_tells_what_the_engine_told(server, tokenizer, prompt) -> None:
    there = OpenAICompleter(f"{server.url}/v1", model="tiny")
    try:
        through = await pieces_of(there, prompt)
    finally:
        await there.close()
    tokens = [value for piece in through for value in piece.logprobs]
    assert len(tokens) == 12
    tops = [top for piece in through for top in piece.top_logprobs]
    assert len(tops) == 12
    assert all([value for _, value in top] == sorted((value for _, value in top), reverse=True) for top in tops)
    seen = Confidence()
    for piece in through:
        seen.push(piece)
    signals = seen.signals()
    assert signals["mean_logprob"] == pytest.approx(sum(tokens) / 12)
    assert 0.0 < signals["tail_entropy"] < 20.0


async def test_nothing_is_told_where_nothing_was_asked(server) -> None:
    there = OpenAICompleter(f"{server.url}/v1", model="tiny")
    try:
        through = await pieces_of(there, "x", Sampling(max_tokens=3, ignore_eos=True))
    finally:
        await there.close()
    assert all(piece.logprobs == () for piece in through)


def test_the_two_forms_of_the_api() -> None:
    chat = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -0.4}]}]}
    assert read_logprobs(chat) == ((-0.5,), (((-1, -0.4),),), (("b",),))
    completion = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -0.4}]}
    assert read_logprobs(completion) == ((-0.5,), (((-1, -0.4), (-1, -0.5)),), (("b", "a"),))
    assert read_logprobs({"token_logprobs": [None], "top_logprobs": [None]}) == ((), (), ())
    assert read_logprobs(None) == ((), (), ())


def test_completions_tell_every_alternative_and_offsets_of_the_text() -> None:
    """Entries: " the", the bytes of é one by one, "a", and <0x61>, which spells "a" once more."""
    the, first, second, a, byte = ids(LLAMA, "▁the", "<0xC3>", "<0xA9>", "a", "<0x61>")
    top = [
        [(the, -0.1), (a, -2.0), (byte, -3.0)],
        [(a, -0.2)],
        [(second, -0.1), (first, -0.5)],
        [(a, -0.3), (byte, -1.0)],
    ]
    tokens, logprobs = [the, first, second, byte], [-0.1, -4.0, -0.1, -1.0]
    told = completion_logprobs(LLAMA.speller(), tokens, logprobs, top)
    assert told["tokens"] == [" the", "", "é", "a"]
    assert told["text_offset"] == [0, 4, 4, 5]
    assert told["token_logprobs"] == logprobs
    assert told["top_logprobs"] == [
        {" the": -0.1, "a": -2.0, f"token_id:{byte}": -3.0},
        {"a": -0.2, "": -4.0},
        {"é": -0.1, "\ufffd": -0.5},
        {f"token_id:{a}": -0.3, "a": -1.0},
    ]


def test_chats_tell_the_bytes_of_each_token() -> None:
    first, second, a, byte = ids(LLAMA, "<0xC3>", "<0xA9>", "a", "<0x61>")
    told = chat_logprobs(
        LLAMA, LLAMA.speller(), [first, second], [-1.0, -2.0], [[(a, -0.5), (byte, -0.6), (first, -1.0)], []], 2
    )["content"]
    assert [(entry["token"], entry["bytes"]) for entry in told] == [("", [0xC3]), ("é", [0xA9])]
    assert [(each["token"], each["bytes"], each["logprob"]) for each in told[0]["top_logprobs"]] == [
        ("a", [0x61], -0.5),
        ("a", [0x61], -0.6),
    ]
