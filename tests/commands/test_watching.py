"""The line that says what is done: what it counts, and that it is drawn while nothing else goes on."""

import io
import time

import pytest
from rich.console import Console

from podium.answering.protocol import Sampling
from podium.answering.scripted import ScriptedCompleter
from podium.commands import watching
from podium.commands.watching import Meter, Metered, Watch
from podium.errors import CompleterError
from podium.folders import ExamFolder
from podium.records import Event, ExamResult, Problem, Verdict
from podium.solve import ExamConfig, sit_exam
from podium.solve.exam import Opened

PROBLEMS = [Problem(id=f"p{i}", text=f"Say {i}.", answer=str(i)) for i in range(4)]


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def event(kind, time=0.0):
    return Event(time=time, kind=kind)


def test_the_line_tells_attempts_tokens_clock_pool_and_time_left():
    clock = Hand()
    watch = Watch(Console(file=io.StringIO()), read=clock)
    watch.doing("loading m")
    clock.now = 75
    assert watch.line() == "1 min 15 s  loading m (1 min 15 s)"
    watch.doing("")
    watch.opened(Opened(PROBLEMS[0], 0, 4, 70.0, 12.0, 300.0))
    for index in range(3):
        watch.saw(PROBLEMS[0], index, event("start"))
    watch.saw(PROBLEMS[0], 1, event("end"))
    watch.meter.begin()
    watch.meter.count(500)
    clock.now = 80
    assert watch.line() == (
        "1 min 20 s  0/4 problems, 0 correct · attempts: 2 running, 1 ended · 500 tokens, 100 tokens/s · clock 5 of "
        "70 s · pool +12 s · 4 min 55 s left"
    )
    watch.finished(ExamResult(problem=PROBLEMS[0], attempts=(), votes=(), answer="0", verdict=Verdict.CORRECT), 1, 4)
    assert "1/4 problems, 1 correct · attempts: 0 running, 3 ended" in watch.line()  # cut off ones have ended as well


def test_without_a_clock_the_time_left_is_that_of_the_problems_so_far():
    clock = Hand()
    watch = Watch(Console(file=io.StringIO()), read=clock)
    for done in range(2):
        watch.opened(Opened(PROBLEMS[done], done, 4, None, None, None))
        over = ExamResult(problem=PROBLEMS[done], attempts=(), votes=(), answer=None, verdict=Verdict.WRONG)
        watch.finished(over.model_copy(update={"used_seconds": 30.0}), done + 1, 4)
    watch.opened(Opened(PROBLEMS[2], 2, 4, None, None, None))
    clock.now = 10
    assert "about 50 s left" in watch.line()


def test_tokens_per_second_are_those_of_the_last_seconds():
    clock = Hand()
    meter = Meter(read=clock)
    meter.begin()
    for second in range(1, 31):
        clock.now = second
        meter.count(10 if second <= 15 else 100)
        rate = meter.rate()
    assert rate == 100.0


def test_loading_does_not_slow_the_first_rate():
    clock = Hand()
    meter = Meter(read=clock)
    meter.tokens = 1000  # of an earlier session
    assert meter.rate() == 0
    clock.now = 60  # the model is loaded
    meter.begin()
    clock.now = 62
    meter.begin()
    meter.count(100)
    assert meter.rate() == 50


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_shows_every_part_of_the_line(width):
    out = io.StringIO()
    clock = Hand()
    watch = Watch(Console(file=out, width=width, force_terminal=True, color_system=None), read=clock)
    watch.opened(Opened(PROBLEMS[0], 0, 4, 70.0, 12.0, 300.0))
    clock.now = 5
    with watch:
        pass
    text = out.getvalue()
    for part in ["0/4 problems, 0 correct", "0 tokens, 0 tokens/s", "clock 5 of 70 s", "pool +12 s", "4 min 55 s left"]:
        assert part in text
    assert "…" not in text


async def test_counting_changes_nothing():
    def script(prompt, sampling):
        yield "one "
        output = yield "two<stop>"
        yield f"{output}!"

    meter = Meter()
    completion = await Metered(ScriptedCompleter("s", script), meter).start("p", Sampling(stop=("<stop>",)))
    first = [piece.text async for piece in completion]
    await completion.extend("more")
    second = [piece.text async for piece in completion]
    assert (first, second[0], meter.tokens) == (["one ", "two<stop>"], "more!", 3)
    assert (await completion.cancel()).completion_tokens == 3


def test_without_a_terminal_lines_come_even_while_nothing_returns(monkeypatch):
    monkeypatch.setattr(watching, "PLAIN_LINE_SECONDS", 0.02)
    out, error = io.StringIO(), io.StringIO()
    with Watch(Console(file=out), Console(file=error)) as watch:
        watch.doing("loading m")
        deadline = time.monotonic() + 20
        while error.getvalue().count("loading m") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # as a load does: nobody calls the watch
    assert error.getvalue().count("loading m") >= 2
    assert out.getvalue() == ""


def test_in_a_terminal_the_line_lives_and_is_gone_at_the_end():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with Watch(console) as watch:
        watch.doing("loading m")
        time.sleep(0.3)
        console.print("a result")
    text = screen.getvalue()
    assert "loading m" in text
    assert "a result" in text
    assert text.endswith(("\x1b[?25h", "\x1b[2K"))  # the line is wiped


async def test_after_an_interruption_the_counts_go_on(tmp_path):
    def right(prompt, sampling):
        if stop and "2" in prompt[-1].content:
            raise OSError("gone")
        yield f"\\boxed{{{prompt[-1].content[4:-1]}}}"

    stop, config = True, ExamConfig(attempts=3)
    with pytest.raises(CompleterError, match="gone"):
        await sit_exam(PROBLEMS, ScriptedCompleter("r", right), None, config, tmp_path)
    stop = False
    watch = Watch(Console(file=io.StringIO()), read=Hand())
    watch.resumed(ExamFolder(tmp_path).resume_results(), 4)
    assert "2/4 problems, 2 correct · attempts: 0 running, 6 ended · 6 tokens" in watch.line()
    await sit_exam(
        PROBLEMS, Metered(ScriptedCompleter("r", right), watch.meter), None, config, tmp_path,
        progress=watch.finished, sink=watch.saw, opening=watch.opened,
    )  # fmt: skip
    assert "4/4 problems, 4 correct · attempts: 0 running, 12 ended · 12 tokens" in watch.line()
