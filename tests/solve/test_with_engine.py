"""An exam sat by the real engine with random weights: nonsense, but complete, bounded and reproducible."""

import pytest

from podium.records import Attempt, ExamResult, Problem
from podium.solve import ExamConfig, sit_exam
from podium.storage import read_rows


@pytest.fixture(scope="module")
def babbler():
    import torch

    from podium.generate import Engine
    from podium.models import Transformer, TransformerConfig
    from podium.text import train_tokenizer

    tokenizer = train_tokenizer(["What is 12 + 34? It is \\boxed{46}."] * 4, 300)
    config = TransformerConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    return Engine(Transformer(config), tokenizer, threads=1, name="babbler")


PROBLEMS = [
    Problem(id="short", text="What is 1 + 1?", answer="2"),
    Problem(id="long", text="What is the sum of 7 " + "and 8 " * 200 + "?", answer="1607"),
    Problem(id="last", text="What is 2 + 2?", answer="4"),
]


async def test_the_engine_sits_an_exam_and_a_problem_too_long_for_it_is_left_unanswered(babbler, tmp_path):
    config = ExamConfig(attempts=4, overrides={"temperature": 1.0, "top_p": 1.0, "max_tokens": 40})
    summary = await sit_exam(PROBLEMS, babbler, None, config, tmp_path / "a")
    results = {r.problem.id: r for r in read_rows(tmp_path / "a" / "results.jsonl", ExamResult)}
    assert [(a.stop_reason, a.text) for a in results["long"].attempts] == [("length", "")] * 4
    assert summary.scores.truncated >= 4
    assert summary.scores.errors == 0
    written = [a for name in ("short", "last") for a in results[name].attempts]
    assert all(0 < a.usage.completion_tokens <= 40 and a.usage.prompt_tokens > 0 for a in written)
    assert len({a.text for a in written}) == 8  # every attempt has its own seed

    await sit_exam(PROBLEMS[::-1], babbler, None, config, tmp_path / "b")
    texts = [{a.id: a.text for a in read_rows(tmp_path / f / "attempts.jsonl", Attempt)} for f in ("a", "b")]
    assert texts[0] == texts[1]


async def test_attempts_cut_off_by_the_clock_leave_the_engine_as_it_was(babbler, tmp_path):
    async def texts(folder):
        sampling = {"temperature": 1.0, "max_tokens": 30}
        await sit_exam(PROBLEMS[2:], babbler, None, ExamConfig(attempts=3, overrides=sampling), folder)
        return [a.text for a in read_rows(folder / "attempts.jsonl", Attempt)]

    before = await texts(tmp_path / "before")
    config = ExamConfig(attempts=8, budget_seconds=0.001, overrides={"temperature": 1.0, "max_tokens": 10**6})
    cut = await sit_exam(PROBLEMS[:1], babbler, None, config, tmp_path / "clock")
    assert cut.scores.clock_hits == 1
    assert cut.scores.clock_cut >= 1  # some may have come to an end of their own
    assert await texts(tmp_path / "after") == before
