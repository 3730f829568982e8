"""The one tool loop, with code that really runs: who wrote what, how it ends, what it frees, and who uses it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from podium.answering import CompletionUsage, Sampling, ScriptedCompleter
from podium.answering.toolloop import CODE_LIMITS, TEACHING, CodeLimits, ToolLoop, ToolResponse, write_solution
from podium.curate import solve_with_teacher
from podium.errors import CompleterError, SandboxUnavailable
from podium.records import Problem
from podium.sandbox import Limits, Sandbox, profiles
from podium.solve import attempt, get_profile
from podium.solve.genselect import Candidate, select

PROBLEM = Problem(id="p", text="What is 6 * 7?", answer="42")


def call(code: str) -> str:
    return f"<tool_call>\n{code}\n</tool_call>"


@pytest.fixture
async def sandbox():
    try:
        async with Sandbox(warm=()) as opened:
            yield opened
    except SandboxUnavailable as error:
        pytest.skip(str(error))


async def write(script, sandbox, sampling=None, **options):
    return await write_solution(ScriptedCompleter("s", script), "q", sampling or Sampling(), sandbox, **options)


async def test_who_wrote_what_is_told(sandbox):
    def script(prompt, sampling):
        assert sampling.stop == ("\n\n", "</tool_call>")
        yield "I run "
        output = yield call("print(6 * 7)")
        yield f"It is \\boxed{{{output.split()[1]}}}."

    rollout = await write(script, sandbox, Sampling(stop=("\n\n",)))
    assert [(turn.role, turn.text) for turn in rollout.turns] == [
        ("model", "I run <tool_call>\nprint(6 * 7)\n</tool_call>"),
        ("tool", "\n```output\n42\n```\n"),
        ("model", "It is \\boxed{42}."),
    ]
    assert [(part.role, part.text) for part in rollout.parts] == [(s.role, s.text) for s in rollout.turns]
    assert (rollout.ending, [response.status for response in rollout.responses]) == ("eos", ["ok"])
    assert rollout.code_seconds > 0
    assert rollout.usage.completion_tokens == 3


LONG = "print('7' * 600 + '8' * 900)"


def long_printer(prompt, sampling):
    yield call(LONG)
    yield "It is \\boxed{42}. Judgment: 0"


async def test_training_data_exams_and_selectors_are_cut_alike(sandbox):
    expected = (
        "\n```output\n" + "7" * 500 + "\n... [501 characters not shown] ...\n" + "8" * 499 + "\n```\n"
    )  # of 1,501 characters, the line's end included, 1,000 are shown
    heard = []

    def listener(prompt, sampling):
        heard.append((yield call(LONG)))
        yield "It is \\boxed{42}. Judgment: 0"

    (row,) = [row async for row in solve_with_teacher([PROBLEM], ScriptedCompleter("t", listener), "tir", sandbox)]
    sat = await attempt(PROBLEM, ScriptedCompleter("t", listener), sandbox, get_profile("eval"))
    pool = [Candidate(0, "\\boxed{42}", "42"), Candidate(1, "\\boxed{41}", "41")]
    await select(PROBLEM, pool, ScriptedCompleter("t", listener), sandbox=sandbox, repeats=1)
    assert row.parts == sat.parts
    assert row.parts[1].text == expected
    assert heard == [expected] * 3


@pytest.mark.parametrize("name", ["kaggle", "notebook", "eval"])
async def test_a_profiles_limits_hold_for_whoever_names_it(sandbox, name):
    """Whatever the sandbox could do, training data made within a profile are cut as its exams are."""
    rollout = await write(long_printer, sandbox, limits=CODE_LIMITS[name])
    sat = await attempt(PROBLEM, ScriptedCompleter("t", long_printer), sandbox, get_profile(name))
    assert rollout.parts == sat.parts
    assert f"{1501 - profiles[name].output_chars} characters not shown" in rollout.parts[1].text


def test_limits_only_narrow_what_a_sandbox_has():
    limits = CodeLimits(calls=1, seconds=5.0, characters=300)
    within = limits.within(Limits(wall_seconds=2.0, output_chars=1000, memory_bytes=1 << 20))
    assert (within.wall_seconds, within.output_chars, within.memory_bytes) == (2.0, 300, 1 << 20)


def closer(prompt, sampling):
    for number in range(20):
        output = yield call(f"print({number})")
        if "no code calls are left" in output:
            yield "Then I guess. "


@pytest.mark.parametrize(("past_limit", "statuses"), [("stop", ["ok", "ok"]), ("hint", ["ok", "ok", "refused"])])
async def test_a_block_too_many_ends_a_solution(sandbox, past_limit, statuses):
    limits = CodeLimits(2, 5.0, 100, past_limit)
    rollout = await write(closer, sandbox, limits=limits)
    assert rollout.ending == "code_limit"
    assert [response.status for response in rollout.responses] == statuses
    assert rollout.parts[-1].role == "model"
    assert ("Then I guess." in rollout.parts[-1].text) == (past_limit == "hint")


async def test_a_tag_closed_without_being_opened_runs_nothing_and_is_a_call(sandbox):
    def script(prompt, sampling):
        output = yield "I close </tool_call>"
        yield "Ah." if "nothing was run" in output else output
        yield call("print(1)")

    rollout = await write(script, sandbox, limits=CodeLimits(1, 5.0, 100, "stop"))
    assert ([response.status for response in rollout.responses], rollout.ending) == (["not opened"], "code_limit")
    assert rollout.parts[2].text.startswith("Ah.")


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["It is 42.", "\n\nQuestion: next"], "It is 42.\n\nQuestion:"),
        (["I run <tool_call>\nx = 1", "\n\nQuestion:"], "I run <tool_call>\nx = 1\n\nQuestion:"),
    ],
)
async def test_a_stop_string_of_the_callers_ends_a_solution_and_runs_nothing(sandbox, texts, text):
    def script(prompt, sampling):
        for each in texts:
            yield each.removesuffix(" next")
        yield "never"

    rollout = await write(script, sandbox, Sampling(stop=("\n\nQuestion:",)))
    assert (rollout.ending, rollout.responses) == ("stop", ())
    assert "".join(part.text for part in rollout.parts) == text


@pytest.mark.parametrize("limits", [TEACHING, CodeLimits(0, 5.0, 100)])
async def test_without_a_sandbox_or_calls_tags_are_text(sandbox, limits):
    def script(prompt, sampling):
        assert sampling.stop == ()
        yield call("print(1)")
        yield " and on"

    rollout = await write(script, sandbox if limits.calls == 0 else None, limits=limits)
    assert [part.text for part in rollout.parts] == [call("print(1)") + " and on"]
    assert (rollout.ending, rollout.responses) == ("eos", ())


async def test_session_and_calls_carry_on_after_an_interrupt(sandbox):
    def script(prompt, sampling):
        if prompt == "again":
            yield call("print(x * 2)")
            yield call("print(x * 3)")
            return
        yield call("x = 21")
        while True:
            yield "Hmm. "

    loop = ToolLoop(ScriptedCompleter("s", script), sandbox, CodeLimits(2, 5.0, 100, "stop"))
    await loop.start("first", Sampling(max_tokens=10**9))
    said, pieces = [], 0
    async with aclosing(loop.write()) as steps:
        async for step in steps:
            if isinstance(step, ToolResponse):
                said.append(step.text)
            elif step.text == "Hmm. ":
                pieces += 1
                if pieces == 3:
                    await loop.interrupt()
    assert loop.ending == "cancelled"
    await loop.start("again", Sampling())
    async with aclosing(loop.write()) as steps:
        said += [step.text async for step in steps if isinstance(step, ToolResponse)]
    assert loop.ending == "code_limit"
    assert said == ["\n```output\n\n```\n", "\n```output\n42\n```\n"]
    await loop.close()
    assert loop.usage.completion_tokens == 1 + pieces + 2
    await loop.close()
    assert loop.usage.completion_tokens == 1 + pieces + 2  # closing twice counts nothing twice


class Watched:
    """A sandbox that counts its open sessions."""

    def __init__(self, sandbox):
        self.sandbox, self.limits, self.open_sessions = sandbox, sandbox.limits, 0

    async def open(self, **options):
        session = await self.sandbox.open(**options)
        self.open_sessions += 1
        close = session.close

        async def closing():
            await close()
            self.open_sessions -= 1

        session.close = closing
        return session


async def test_a_completer_that_fails_to_let_go_keeps_no_session(sandbox):
    class Stubborn(ScriptedCompleter):
        async def start(self, prompt, sampling):
            completion = await super().start(prompt, sampling)

            async def cancel() -> CompletionUsage:
                raise CompleterError("gone", "start it again")

            completion.cancel = cancel
            return completion

    watched = Watched(sandbox)
    with pytest.raises(CompleterError, match="gone"):
        await write_solution(Stubborn("s", long_printer), "q", Sampling(), watched)
    assert watched.open_sessions == 0


@pytest.mark.parametrize("turns", [0, 1, 3, 6, 30])
async def test_cancelling_a_solution_frees_its_session(sandbox, turns):
    def script(prompt, sampling):
        yield call("x = 1")
        yield call("import time; time.sleep(30)")

    watched = Watched(sandbox)
    task = asyncio.create_task(write_solution(ScriptedCompleter("s", script), "q", Sampling(), watched))
    for turn in range(turns):
        await asyncio.sleep(0.005 if turn % 3 == 2 else 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.open_sessions == 0


async def test_the_tokens_of_a_solution_are_the_engines(sandbox):
    """A model with random weights, at a temperature where any token may come, closes tags by chance. One forward pass
    over the tokens that are told gives the log-probabilities that were told with those of the model, and no other
    alignment does."""
    import torch

    from podium.generate import Engine
    from podium.models import Transformer, TransformerConfig
    from podium.text import train_tokenizer

    small = train_tokenizer(["What is 12 + 34? It is \\boxed{46}."] * 4, 262)
    config = TransformerConfig(
        vocab_size=small.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=4096,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Transformer(config)
    engine = Engine(model, small, threads=1, name="babbler")
    prompt = small.encode("What is 1 + 1?")
    sampling = Sampling(max_tokens=1200, temperature=100.0, seed=2, ignore_eos=True)
    try:
        rollout = await write_solution(engine, prompt, sampling, sandbox, limits=CodeLimits(3, 5.0, 60, "stop"))
    finally:
        await engine.close()
    assert len(rollout.responses) >= 2, "the seed closes no tags"
    ids, mask = rollout.tokens_and_mask(small.encode)
    assert sum(mask) == rollout.usage.completion_tokens
    assert len(ids) - sum(mask) == rollout.usage.appended_tokens
    assert small.decode(ids) == "".join(turn.text for turn in rollout.turns)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids]]))[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0][torch.tensor(mask)]
    told = torch.tensor([value for turn in rollout.turns for value in turn.logprobs])
    assert torch.allclose(told, expected, atol=2e-3)
    assert not torch.allclose(told[1:], expected[:-1], atol=0.1)
