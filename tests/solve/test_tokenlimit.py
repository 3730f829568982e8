"""The clock's token limit: what it is made from, and that an exam gone on with keeps it."""

import json
import time

import pytest

from podium.answering.scripted import ScriptedCompleter
from podium.errors import CompleterError
from podium.records import Attempt, ExamResult, Problem
from podium.solve import ExamConfig, get_profile, sit_exam
from podium.solve.tokenlimit import limit_from, measure_speed
from podium.storage import read_rows

PROBLEMS = [Problem(id=f"p{i}", text=f"Say {i}.", answer=str(i)) for i in range(4)]


def test_it_is_what_one_attempt_can_write_and_a_quarter_more():
    limit = limit_from(10.0, 100.0, 32_000)
    assert limit is not None
    assert limit.tokens == 1_280  # 1,250 in steps of 64
    assert "10 tokens/s" in limit.told()
    assert limit_from(10.0, 100.0, 1_280) is None  # the profile allows no more anyway
    assert limit_from(0.01, 1.0, 32_000).tokens == 256  # type: ignore[union-attr]


class Ticking:
    """A clock that goes a tenth of a second further with each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


async def test_the_speed_is_that_of_tokens_after_the_first():
    def words(prompt, sampling):
        for _ in range(1_000):
            yield "word "

    messages = get_profile("kaggle").messages(PROBLEMS[0])
    sampling = get_profile("kaggle").sampling(0)
    assert await measure_speed(ScriptedCompleter("w", words), messages, sampling, Ticking()) == pytest.approx(10.0)

    def few(prompt, sampling):
        yield "word"

    assert await measure_speed(ScriptedCompleter("f", few), messages, sampling, Ticking()) is None


async def test_an_exam_gone_on_with_keeps_its_limit(tmp_path):
    """Another machine, or a busier hour, would measure another speed: the answers must not depend on it."""
    asked = []

    def talks(prompt, sampling):
        asked.append(sampling.max_tokens)
        if gone and "3" in prompt[-1].content:
            raise OSError("gone")
        for _ in range(60):
            time.sleep(0.001)  # so that no machine is too fast for a limit
            yield "Well. "
        yield f"\\boxed{{{prompt[-1].content[4:-1]}}}"

    gone = True
    config = ExamConfig(attempts=2, budget_seconds=20.0, token_limit="clock")  # 5 s for each, 8 s at most
    told = []
    with pytest.raises(CompleterError):
        await sit_exam(PROBLEMS, ScriptedCompleter("t", talks), None, config, tmp_path, say=told.append)
    found = json.loads((tmp_path / "exam.json").read_text())["token_limit"]
    assert found["seconds"] == pytest.approx(8.0)
    assert asked[0] == 48  # the measurement
    assert set(asked[1:]) == {found["tokens"]}
    assert any(line.startswith(f"token limit {found['tokens']:,} per attempt") for line in told)
    gone, measured = False, len(asked)
    summary = await sit_exam(PROBLEMS, ScriptedCompleter("t", talks), None, config, tmp_path)
    assert set(asked[measured:]) == {found["tokens"]}
    assert summary.token_limit is not None
    assert summary.token_limit.tokens == found["tokens"]
    assert summary.resumed == 3
    limits = {row.maker.sampling["max_tokens"] for row in read_rows(tmp_path / "attempts.jsonl", Attempt)}
    assert limits == {found["tokens"]}
    assert [r.answer for r in read_rows(tmp_path / "results.jsonl", ExamResult)] == ["0", "1", "2", "3"]
