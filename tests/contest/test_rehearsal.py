"""Rehearsals with entries that are really run: good ones, late ones, broken ones."""

import asyncio
import json
import random
import textwrap
from pathlib import Path

import pytest

from podium.answering.protocol import Completer, CompletionUsage, Piece
from podium.answering.scripted import ScriptedCompleter
from podium.contest import RULES, Contestant, draw_problems, rehearse
from podium.contest.gateway import Answered, Rehearsal, Run
from podium.errors import InputError
from podium.records import Problem


def sums(n: int) -> list[Problem]:
    return [Problem(id=f"sum-{i}", text=f"What is {i} + {i + 1}?", answer=str(2 * i + 1)) for i in range(n)]


NOTEBOOK = """
import os
import polars as pl
import kaggle_evaluation.aimo_2_inference_server as kaggle

print("this must not be taken for an answer")

def predict(id_: pl.DataFrame, question: pl.DataFrame) -> pl.DataFrame:
    words = question.item(0).split()
    return pl.DataFrame({"id": id_.item(0), "answer": int(words[2]) + int(words[4].rstrip("?"))})

server = kaggle.AIMO2InferenceServer(predict)
if os.getenv("KAGGLE_IS_COMPETITION_RERUN"):
    server.serve()
else:
    server.run_local_gateway(("reference.csv",))
"""


def run(
    tmp_path: Path, entry: str, problems: list[Problem], seconds: float = 3600.0, rules: str = "aimo2"
) -> Rehearsal:
    path = tmp_path / "entry.py"
    path.write_text(textwrap.dedent(entry))
    return rehearse(path, problems, [], RULES["aimo2"].within(seconds), tmp_path / "out")


def test_an_unchanged_notebook_sits_public_and_private(tmp_path):
    path = tmp_path / "entry.py"
    path.write_text(NOTEBOOK)
    drawn = draw_problems(sums(30), RULES["aimo2"], seed=3)
    assert len(drawn.public) == len(drawn.private) == 15
    assert not {p.id for p in drawn.public} & {p.id for p in drawn.private}
    rehearsal = rehearse(path, drawn.public, drawn.private, RULES["aimo2"], tmp_path / "out", seed=3)
    assert not rehearsal.failed
    assert (rehearsal.score("public"), rehearsal.score("private")) == (15.0, 15.0)
    asked = [answer.id for answer in rehearsal.runs[0].answers]
    assert asked != [p.id for p in drawn.public]
    assert sorted(asked) == sorted(p.id for p in drawn.public)
    rows = (tmp_path / "out" / "1-public.csv").read_text().splitlines()
    assert rows[0] == "id,answer"
    assert len(rows) == 16
    assert "must not be taken" in (tmp_path / "out" / "1-public.log").read_text()
    assert Rehearsal.model_validate_json((tmp_path / "out" / "rehearsal.json").read_text()) == rehearsal


@pytest.mark.parametrize(
    ("body", "said", "right"),
    [("7", "7", True), ("7.0", "7.0", True), ("'7'", "7", True), ("{'answer': [7]}", "7", True), ("8", "8", False),
     ("1007", "1007", False), ("-3", "-3", False), ("None", "None", False), ("'seven'", "seven", False)],
)  # fmt: skip
def test_what_an_entry_may_return(tmp_path, body, said, right):
    problem = Problem(id="p", text="?", answer="7")
    rehearsal = run(tmp_path, f"def predict(id_, question):\n    return {body}\n", [problem])
    (answer,) = rehearsal.runs[0].answers
    assert (answer.said, answer.right, rehearsal.failed) == (said, right, False)


PREDICT = "def predict(id_, question):\n    hard = question.item(0)[8:11] in ('2 +', '3 +')\n    "
BROKEN = {
    "raises": (PREDICT + "if hard: raise RuntimeError('oh')\n    return 1", "oh"),
    "exits": ("import os\n" + PREDICT + "os._exit(3)", "exit code 3"),
    "does not start": ("import no_such_module_anywhere", "No module named"),
    "has nothing": ("x = 1", "neither starts a server nor defines predict"),
    "hangs": ("import time\n" + PREDICT + "time.sleep(3 * hard)\n    return 1", "too slow"),
    "loads too long": ("import time\ntime.sleep(60)", "at serving"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_would_have_no_score_says_why(tmp_path, kind):
    body, reason = BROKEN[kind]
    seconds = {"hangs": 10.0, "loads too long": 2.0}.get(kind, 3600.0)
    rehearsal = run(tmp_path, body, sums(5), seconds)
    assert rehearsal.failed
    assert reason in rehearsal.runs[0].failure
    assert len(rehearsal.runs[0].answers) < 5
    assert rehearsal.runs[0].seconds < 8


def test_the_whole_submission_ends_in_time(tmp_path):
    slow = "import time\ndef predict(id_, question):\n    time.sleep(0.12)\n    return 1"
    rehearsal = run(tmp_path, slow, sums(50), seconds=4.0)  # of which a tenth is for one problem
    assert "out of time" in rehearsal.runs[0].failure
    assert len(rehearsal.runs[0].answers) < 34
    assert rehearsal.runs[0].seconds < 4.0 + 5


def test_two_runs_count_half_where_one_is_right():
    def made(rights: list[bool]) -> Run:
        answers = tuple(
            Answered(id=str(i), said="", answer=0, right=right, seconds=0.0) for i, right in enumerate(rights)
        )
        return Run(split="private", problems=len(rights), answers=answers, start_seconds=0.0, seconds=0.0)

    runs = (made([True, True, False, False]), made([True, False, True, False]))
    rehearsal = Rehearsal(contest="aimo3", entry="", seed=0, budget_seconds=1.0, runs=runs)
    assert rehearsal.score("private") == 1 + 0.5 + 0.5
    assert rehearsal.score("public") is None


def test_the_third_prize_runs_the_private_set_twice(tmp_path):
    path = tmp_path / "entry.py"
    path.write_text("def predict(id_, problem):\n    return 99999")
    problems = [Problem(id=f"p{i}", text="?", answer="99999" if i % 2 else "5") for i in range(8)]
    rehearsal = rehearse(path, [], problems, RULES["aimo3"], tmp_path / "out")
    assert [r.split for r in rehearsal.runs] == ["private", "private"]
    # in one order, which is not that of the file
    assert [a.id for a in rehearsal.runs[0].answers] == [a.id for a in rehearsal.runs[1].answers]
    assert [a.id for a in rehearsal.runs[0].answers] != [p.id for p in problems]
    assert rehearsal.score("private") == 4.0


def test_only_answers_the_rules_allow_are_dealt():
    problems = [Problem(id=str(i), text="?", answer=a) for i, a in enumerate(["1", "-1", "1000", "1/2", "012", "$7$"])]
    drawn = draw_problems([*problems, Problem(id="none", text="?")], RULES["aimo2"])
    assert {p.answer for p in (*drawn.public, *drawn.private)} <= {"1", "012", "$7$"}
    assert drawn.left_out == 4
    with pytest.raises(InputError, match="integer answers"):
        draw_problems(problems[3:4], RULES["aimo2"])
    many = [Problem(id=str(i), text="?", answer="1") for i in range(140)]
    full = draw_problems(many, RULES["aimo2"])
    assert [len(full.reference), len(full.public), len(full.private)] == [10, 50, 50]


def adder(prompt, sampling):
    words = prompt[-1].content.split()
    yield f"\\boxed{{{int(words[2]) + int(words[4].rstrip('?')) + 1000}}}"


def test_a_contestant_answers_integers_and_keeps_its_clock():
    with Contestant(ScriptedCompleter("adder", adder), problems=5, budget=60, code=False, attempts=4,
                    policy="first_k_agree:2") as me:  # fmt: skip
        assert [me.answer(p.text) for p in sums(5)] == [1, 3, 5, 7, 9]  # modulo 1000
        assert me.ledger.done == 5
        assert me.ledger.elapsed >= sum(me.ledger.used) - 1e-9


class Gone(Completer):
    """An engine that dies, hangs or answers, problem by problem."""

    name = "gone"

    async def start(self, prompt, sampling):
        return Mood(prompt[-1].content)

    async def close(self):
        pass


class Mood:
    def __init__(self, text):
        self.text = text

    async def __aiter__(self):
        if "dies" in self.text:
            raise RuntimeError("segmentation fault")
        if "hangs" in self.text:
            await asyncio.sleep(1000)
        yield Piece("\\boxed{17}", tokens=(1,), finish="eos")

    async def cancel(self):
        return CompletionUsage()


def test_whatever_the_engine_does_there_is_an_answer_in_time():
    moods = ["answers", "dies", "hangs", "answers", "", "dies"]
    with Contestant(Gone(), problems=6, budget=3, code=False, attempts=4, policy="winner", fallback=42) as me:
        answers = [me.answer(mood) for mood in moods]
        assert [answers[0], answers[1], answers[2], answers[3], answers[5]] == [17, 42, 42, 17, 42]
        assert me.ledger.elapsed < 3 + 1
        assert any("segmentation fault" in line for line in me.log)


def test_a_contestant_out_of_time_answers_at_once():
    with Contestant(Gone(), problems=3, budget=0.01, code=False, attempts=4, fallback=5) as me:
        assert [me.answer("hangs") for _ in range(3)] == [5, 5, 5]
        assert me.ledger.elapsed < 1.5


def test_the_documented_loop_is_short_and_sits_a_rehearsal(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "contest.md").read_text()
    loop = text.split("```python title=entry.py\n", 1)[1].split("```", 1)[0]
    assert len([line for line in loop.splitlines() if line.strip()]) <= 20
    random.seed(0)
    standing_in = textwrap.dedent("""
        from podium.answering.scripted import ScriptedCompleter
        import podium.contest.contestant as c, podium.opening as opening
        def adder(prompt, sampling):
            words = prompt[-1].content.split()
            yield f"\\\\boxed{{{int(words[2]) + int(words[4].rstrip('?'))}}}"
        opening.open_model = lambda spec, rows: ScriptedCompleter(spec.model, adder)
    """)
    path = tmp_path / "entry.py"
    path.write_text(standing_in + loop)
    rehearsal = rehearse(path, sums(6), [], RULES["aimo2"], tmp_path / "out")
    assert not rehearsal.failed, rehearsal.runs[0].failure
    assert rehearsal.score("public") == 6.0
    assert json.loads((tmp_path / "out" / "rehearsal.json").read_text())["contest"] == "aimo2"
