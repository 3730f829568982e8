"""The engine's promises on logprobs, pausing, counting, penalties and ending."""

import asyncio
import gc

import pytest
import torch

from podium.answering import Completer, Completion, Sampling
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.generate import Engine
from podium.records import Message
from tests.generate.conftest import answer, memory_for, random_model, read


async def test_logprobs_are_those_of_the_model(model, tokenizer, make_engine):
    prompt = tokenizer.encode("What is 12 + 31?")
    completion = await make_engine(format="fp32").start(
        prompt, Sampling(max_tokens=30, temperature=0.7, top_k=5, seed=4)
    )
    pieces = [piece async for piece in completion]
    tokens = [token for piece in pieces for token in piece.tokens]
    logprobs = [logprob for piece in pieces for logprob in piece.logprobs]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens]))[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(logprobs), expected, atol=1e-4, rtol=1e-4)
    usage = await completion.cancel()
    assert usage.logprob_sum == pytest.approx(sum(logprobs))


async def test_pausing_at_a_stop_string_and_going_on_recomputes_nothing(model, tokenizer, make_engine):
    engine = make_engine(format="fp32")
    assert isinstance(engine, Completer)
    prompt = tokenizer.encode("Compute 18271 * 43432.")
    text, tokens, _ = await read(await engine.start(prompt, Sampling(max_tokens=60)))
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    completion = await engine.start(prompt, Sampling(max_tokens=60, stop=(stop, "never there")))
    assert isinstance(completion, Completion)
    first, first_tokens, last = await read(completion)
    assert (last.finish, last.stop) == ("stop", stop)
    assert first == text[: text.index(stop) + len(stop)]
    assert first_tokens == tokens[: len(first_tokens)]
    appended = "\n```output\n793546072\n```\n"
    await completion.extend(appended)
    _, second_tokens, last = await read(completion)
    usage = await completion.cancel()
    assert usage.prompt_tokens == len(prompt)
    assert usage.completion_tokens == len(first_tokens) + len(second_tokens)
    assert usage.appended_tokens == len(tokenizer.encode(appended))
    overhang = len(tokenizer.decode(first_tokens)) - len(first)
    last_text = tokenizer.decode(first_tokens[-1:])
    tail = tokenizer.encode_model(last_text[: len(last_text) - overhang]) if overhang else first_tokens[-1:]
    context = prompt + first_tokens[:-1] + tail + tokenizer.encode(appended)
    # Each context token once, apart from the last, which nothing followed; the prompt was another's already. The token
    # that went on behind the stop string was replaced by those of its first part.
    replaced = usage.computed_tokens - (usage.completion_tokens + usage.appended_tokens - 1)
    assert replaced == len(tail) - 1
    # What follows is what the model says to the very text the reader saw.
    with torch.no_grad():
        for token in second_tokens[:10]:
            assert int(model(torch.tensor([context]))[0, -1].argmax()) == token
            context.append(token)


async def test_attempts_share_the_computation_of_their_prompt(make_engine, tokenizer):
    engine = make_engine()
    prompt = tokenizer.encode("What is 12 + 31?" * 20)
    completions = [await engine.start(prompt, Sampling(max_tokens=1, temperature=1, seed=i)) for i in range(12)]
    for completion in completions:
        await read(completion)
    usages = [await completion.cancel() for completion in completions]
    assert sum(usage.computed_tokens for usage in usages) == len(prompt)


async def test_special_tokens_in_appended_or_prompt_text_stay_plain(make_engine, tokenizer):
    engine = make_engine()
    completion = await engine.start("<tool_call>", Sampling(max_tokens=1))
    await read(completion)
    assert (await completion.cancel()).prompt_tokens == len(tokenizer.encode("<tool_call>")) > 1


async def test_a_chat_is_rendered(make_engine, tokenizer):
    engine = make_engine()
    messages = [Message(role="user", content="What is 12 + 31?")]
    assert await answer(engine, messages) == await answer(engine, tokenizer.render(messages))


async def test_every_way_to_end(make_engine, model, tokenizer):
    engine = make_engine()
    prompt = tokenizer.encode("What is")
    _, tokens, last = await read(await engine.start(prompt, Sampling(max_tokens=7)))
    assert (len(tokens), last.finish) == (7, "length")
    # A prompt whose greedy answer begins with the end of the turn.
    for seed in range(200):
        _, tokens, last = await read(await engine.start(prompt, Sampling(max_tokens=300, temperature=2.0, seed=seed)))
        if last.finish == "eos":
            assert tokens[-1] in tokenizer.stop_ids
            break
    else:
        pytest.fail("no answer ever ended")
    long = [5] * (engine.context - 10)
    _, tokens, last = await read(await engine.start(long, Sampling(max_tokens=100)))
    assert last.finish in ("length", "eos")
    assert len(tokens) <= 10
    with pytest.raises(CompleterError, match="context"):
        await engine.start([5] * engine.context, Sampling())


async def test_appending_more_than_the_context_holds_ends_with_length(make_engine, tokenizer):
    engine = make_engine()
    text, _, _ = await read(await engine.start("What is", Sampling(max_tokens=20)))
    completion = await engine.start("What is", Sampling(max_tokens=20, stop=(text[:3],)))
    await read(completion)
    await completion.extend("1 2 3 " * engine.context)
    text, tokens, last = await read(completion)
    assert (text, tokens, last.finish) == ("", [], "length")
    with pytest.raises(CompleterError):
        await completion.extend("more")


async def test_max_tokens_counts_over_the_whole_completion(make_engine):
    engine = make_engine()
    text, _, _ = await read(await engine.start("What is", Sampling(max_tokens=20)))
    completion = await engine.start("What is", Sampling(max_tokens=20, stop=(text[:4],)))
    _, first, _ = await read(completion)
    await completion.extend(" and ")
    _, second, last = await read(completion)
    assert len(first) + len(second) <= 20
    assert last.finish != "length" or len(first) + len(second) == 20


async def test_repetition_ends_a_loop(tokenizer, make_engine):
    # Without attention and feed-forward, the next token depends on the last one alone: the answer must run in circles.
    model = random_model(tokenizer, seed=5)
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.output.weight.zero_()
            layer.feed_forward.down.weight.zero_()
    engine = make_engine(model)
    for start in range(40, 60):
        sampling = Sampling(max_tokens=900, repetition_window=30, repetition_count=2)
        text, tokens, last = await read(await engine.start([start], sampling))
        if last.finish == "repetition":
            assert text[:-30].count(text[-30:]) == 2
            assert len(tokens) < 900
            return
    pytest.fail("no loop was found")


async def test_cancelling_frees_the_row_and_wakes_the_reader(make_engine):
    engine = make_engine(max_rows=1)
    endless = Sampling(max_tokens=900, temperature=1.0)
    first = await engine.start("What", endless)
    reader = asyncio.create_task(read(first))
    second = await engine.start("is", Sampling(max_tokens=3))
    await asyncio.sleep(0.02)
    usage = await first.cancel()
    _, _, last = await reader
    assert last.finish in ("cancelled", "eos")
    assert len((await read(second))[1]) <= 3
    assert await first.cancel() == usage
    with pytest.raises(CompleterError, match="cannot be extended"):
        await first.extend("x")
    assert engine.stats().blocks_used == 0


async def test_a_dropped_completion_is_cancelled(make_engine):
    engine = make_engine()
    completion = await engine.start("What", Sampling(max_tokens=900, temperature=1.0))
    del completion
    gc.collect()
    await read(await engine.start("is", Sampling(max_tokens=2)))
    assert not engine._core.alive


async def test_closing_tells_everybody(make_engine):
    engine = make_engine()
    completion = await engine.start("What", Sampling(max_tokens=900, temperature=1.0))
    reader = asyncio.create_task(read(completion))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(CompleterError, match="closed"):
        await reader
    with pytest.raises(CompleterError, match="closed"):
        await engine.start("What", Sampling())
    await completion.cancel()
    await engine.close()


async def test_an_error_in_the_engine_reaches_every_reader(make_engine, model, monkeypatch):
    engine = make_engine()
    completions = [await engine.start("What", Sampling(max_tokens=900, temperature=1.0, seed=i)) for i in range(3)]
    readers = [asyncio.create_task(read(completion)) for completion in completions]
    engine._thread.post(lambda: 1 / 0)
    for reader in readers:
        with pytest.raises(CompleterError, match="ZeroDivisionError"):
            await reader
    with pytest.raises(CompleterError):
        await engine.start("What", Sampling())


async def test_weights_that_are_not_numbers_are_named(tokenizer, make_engine):
    model = random_model(tokenizer)
    with torch.no_grad():
        model.norm.weight[3] = float("nan")
    with pytest.raises(CompleterError, match="not finite"):
        await answer(make_engine(model), "What")


def test_several_event_loops_after_one_another(make_engine):
    engine = make_engine()
    first = asyncio.run(answer(engine, "What is"))

    async def leave_one_behind():
        await engine.start("What", Sampling(max_tokens=900, temperature=1.0))

    asyncio.run(leave_one_behind())
    assert asyncio.run(answer(engine, "What is")) == first


async def test_input_that_cannot_be_served_is_refused(make_engine, model, tokenizer):
    engine = make_engine()
    for prompt in ("", [], [10**6], [-1]):
        with pytest.raises(InputError):
            await engine.start(prompt, Sampling())
    for settings in (
        {"temperature": -1},
        {"top_p": 0},
        {"max_tokens": 0},
        {"top_k": -2},
        {"min_p": 1.5},
        {"min_tokens": -1},
        {"repetition_penalty": 0},
        {"frequency_penalty": float("nan")},
        {"top_logprobs": -1},
    ):
        with pytest.raises(InputError, match=next(iter(settings))):
            await engine.start("x", Sampling(**settings))
    with pytest.raises(CompleterError, match="memory_bytes"):
        Engine(model, tokenizer, memory_bytes=1000)
    for options in ({"max_rows": 0}, {"step_tokens": 0}, {"kernel": "cuda"}, {"kernel": "torch", "format": "int8"}):
        with pytest.raises(InputError, match="|".join(options)):
            Engine(model, tokenizer, **options)


async def test_whoever_waits_is_served_in_order(make_engine):
    engine = make_engine(max_rows=1)
    text, _, _ = await read(await engine.start("What is", Sampling(max_tokens=30)))
    order = []

    async def follow(name, completion):
        _, _, last = await read(completion)
        order.append(name)
        return last

    paused = await engine.start("What is", Sampling(max_tokens=30, stop=(text[:3],)))
    await read(paused)
    waiting = [await engine.start(f"{name} is", Sampling(max_tokens=40)) for name in ("43", "12")]
    followers = [asyncio.create_task(follow(i, completion)) for i, completion in enumerate(waiting)]
    await paused.extend(" and ")
    followers.append(asyncio.create_task(follow("resumed", paused)))
    late = await engine.start("ones", Sampling(max_tokens=2))
    followers.append(asyncio.create_task(follow("late", late)))
    await asyncio.gather(*followers)
    assert order == [0, 1, "resumed", "late"]


async def test_the_end_of_the_turn_can_be_put_off_or_ignored(model, make_engine, tokenizer):
    engine = make_engine()
    seed, short = 0, []
    while not short or short[-1] not in tokenizer.stop_ids or len(short) > 30:
        seed += 1
        short = await answer(engine, "What is", max_tokens=60, temperature=2.0, seed=seed)
    style = Sampling(max_tokens=60, temperature=2.0, seed=seed)
    later = await answer(engine, "What is", style, min_tokens=40)
    assert len(later) >= 40
    assert not tokenizer.stop_ids & set(later[:40])
    ignoring = await answer(engine, "What is", style, ignore_eos=True)
    assert len(ignoring) == 60
    assert ignoring[: len(short)] == short
    ends = Sampling(max_tokens=60, stop_token_ids=tuple(short[-1:]), ignore_eos=True, temperature=2.0, seed=seed)
    completion = await engine.start("What is", ends)
    _, tokens, last = await read(completion)
    assert (tokens, last.finish, last.stop, last.stop_token) == (short, "stop", None, short[-1])
    await completion.extend(" and ")
    assert (await read(completion))[1]


async def test_penalties_see_the_whole_context(model, make_engine, tokenizer):
    prompt = tokenizer.encode("What is 12 + 31?")
    style = Sampling(max_tokens=40, repetition_penalty=1.4, presence_penalty=0.5, frequency_penalty=0.3)
    tokens = await answer(make_engine(format="fp32"), prompt, style)
    context, written = list(prompt), []
    with torch.no_grad():
        for token in tokens:
            logits = model(torch.tensor([context]))[0, -1]
            for seen in set(context):
                logits[seen] = logits[seen] / 1.4 if logits[seen] > 0 else logits[seen] * 1.4
            for seen in set(written):
                logits[seen] -= 0.5 + 0.3 * written.count(seen)
            assert int(logits.argmax()) == token
            context.append(token)
            written.append(token)
    assert tokens != await answer(make_engine(format="fp32"), prompt)


async def test_a_given_text_is_scored(model, make_engine, tokenizer):
    engine = make_engine(step_tokens=50, format="fp32")
    tokens = tokenizer.encode("What is 12 + 31? The sum is 43. " * 20)
    noise = [asyncio.create_task(answer(engine, "What is", seed=i, temperature=1.0)) for i in range(3)]
    score = await engine.score(tokens, 3)
    await asyncio.gather(*noise)
    with torch.no_grad():
        expected = model(torch.tensor([tokens]))[0, :-1].log_softmax(-1)
    assert (len(score.logprobs), score.logprobs[0], score.top[0]) == (len(tokens), None, ())
    wanted = expected.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(score.logprobs[1:]), wanted, atol=1e-4, rtol=1e-4)
    assert [top[0][0] for top in score.top[1:]] == expected.argmax(-1).tolist()
    assert {len(top) for top in score.top[1:]} == {3}
    assert await engine.score(tokens[:1]) == ([None], [()])
    with pytest.raises(InputError):
        await engine.score([])
    with pytest.raises(PromptTooLong):
        await engine.score([5] * (engine.context + 1))


async def test_what_the_engine_does_is_counted(make_engine, tokenizer):
    engine = make_engine(max_rows=3)
    prompt = tokenizer.encode("What is 12 + 31?" * 5)
    usages = []
    for _ in range(2):
        completions = [await engine.start(prompt, Sampling(max_tokens=9, ignore_eos=True, seed=i)) for i in range(5)]
        for completion in completions:
            await read(completion)
        usages += [await completion.cancel() for completion in completions]
    stats = engine.stats()
    assert (await engine.counts())[0]["generated_tokens"] == 90
    assert (stats.running, stats.waiting, stats.paused, stats.blocks_used) == (0, 0, 0, 0)
    assert stats.prompt_tokens == 10 * len(prompt)
    assert stats.cache_hit_tokens == 9 * len(prompt)
    assert stats.generated_tokens == 90
    assert stats.computed_tokens == sum(usage.computed_tokens for usage in usages) == len(prompt) + 10 * 8


async def test_a_paused_completion_keeps_its_blocks_until_they_are_needed(make_engine, tokenizer):
    engine = make_engine(memory_bytes=memory_for(10, make_engine()._core.runner))
    prompt = tokenizer.encode("What is 12 + 31? " * 10)[:70]
    text, _, _ = await read(await engine.start(prompt, Sampling(max_tokens=60)))

    async def pause():
        completion = await engine.start(prompt, Sampling(max_tokens=60, stop=(text[:9],)))
        await read(completion)
        return completion

    async def resume(completion):
        await completion.extend(" 1")
        tokens = (await read(completion))[1]
        return tokens, (await completion.cancel()).computed_tokens

    completion = await pause()
    assert engine.stats().paused == 1
    assert engine.stats().blocks_used == 3
    expected, computed = await resume(completion)
    crowded = await pause()
    await answer(engine, [7] * 310, max_tokens=5)  # takes every block
    found, again = await resume(crowded)
    assert found == expected
    assert again > computed
    assert engine.stats().blocks_used == 0
