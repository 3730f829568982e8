"""The judge at an exam: asked about what is undecided, marked where it decided, without effect when it is gone."""

import pytest

from podium.answering import ScriptedCompleter
from podium.errors import CompleterError, InputError
from podium.grading.judge import Judge
from podium.records import ExamResult, Problem, Verdict
from podium.solve import ExamConfig, sit_exam
from podium.solve.trace import read_traces
from podium.storage import read_rows

PROBLEMS = [
    Problem(id="words", text="Which curve?", answer="horizontal ellipse"),
    Problem(id="number", text="How many?", answer="5"),
]


def solver(prompt, sampling):
    yield "\\boxed{ellipse}" if "curve" in prompt[0].content else "\\boxed{6}"


class Judging:
    """A judge's model; `said` is its verdict."""

    def __init__(self, said: str) -> None:
        self.asked: list[str] = []
        self.said = said
        self.judge = Judge(ScriptedCompleter("judge", self.script))

    def script(self, prompt, sampling):
        self.asked.append(prompt[0].content)
        yield f"They are compared.\nVerdict: {self.said}"


async def sit(folder, judge):
    config = ExamConfig(attempts=3)
    summary = await sit_exam(PROBLEMS, ScriptedCompleter("s", solver), None, config, folder, judge=judge)
    return summary, {result.problem.id: result for result in read_rows(folder / "results.jsonl", ExamResult)}


async def test_only_the_undecided_is_asked_and_what_the_judge_decides_is_marked(tmp_path):
    without, plain = await sit(tmp_path / "without", None)
    assert plain["words"].verdict is Verdict.UNDECIDED
    judging = Judging("same")
    summary, results = await sit(tmp_path / "with", judging.judge)
    assert len(judging.asked) == 4  # one wording, both orders, twice each
    assert all("horizontal ellipse" in text for text in judging.asked)
    words, number = results["words"], results["number"]
    assert (words.verdict, words.verdict_by) == (Verdict.CORRECT, "judge")
    assert [(a.verdict, a.verdict_by) for a in words.attempts] == [(Verdict.CORRECT, "judge")] * 3
    assert (number.verdict, number.verdict_by) == (Verdict.WRONG, "rules")
    assert (summary.judge, summary.scores.judged, summary.scores.undecided) == ("judge", 3, 0)
    assert (without.judge, without.scores.judged, without.scores.undecided) == (None, 0, 3)
    trace = next(trace for trace in read_traces([tmp_path / "with"]) if trace.problem_id == "words")
    assert [row.verdict for row in trace.answers] == [Verdict.CORRECT]
    assert (await sit(tmp_path / "other", Judging("different").judge))[1]["words"].verdict is Verdict.WRONG


async def test_a_judge_that_is_gone_or_says_nothing_leaves_it_undecided(tmp_path):
    def gone(prompt, sampling):
        raise CompleterError("nothing listens there", "")
        yield ""

    judge = Judge(ScriptedCompleter("gone", gone))
    _, results = await sit(tmp_path / "gone", judge)
    assert (results["words"].verdict, results["words"].verdict_by) == (Verdict.UNDECIDED, "rules")
    assert "without a reply" in judge.trouble
    _, results = await sit(tmp_path / "mute", Judging("nothing").judge)
    assert results["words"].verdict is Verdict.UNDECIDED


async def test_another_judge_is_another_exam(tmp_path):
    await sit(tmp_path, Judging("same").judge)
    with pytest.raises(InputError, match="judge was judge, is not set now"):
        await sit(tmp_path, None)
