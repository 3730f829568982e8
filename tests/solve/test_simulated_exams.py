"""Whole exams in simulated time: engines of every speed, stalls, dead engines, a clock that jumps.

First the policies with a small world of their own around them (no asyncio, ten thousand exams), then the real driver
under an event loop whose time is made up.
"""

import asyncio
import random
import selectors
import shutil
from dataclasses import dataclass, field

import pytest

from podium.answering.protocol import Completer, CompletionUsage, Piece
from podium.errors import CompleterError
from podium.records import ExamResult, Problem
from podium.solve import ExamConfig, Ledger, parse_policy, shipped, sit_exam
from podium.solve.clock import pool
from podium.solve.happening import Happening
from podium.solve.policy import Policy, Proctor
from podium.solve.replay import first_difference
from podium.solve.rules import OptimalStop
from podium.solve.stopwatch import STEP, Stopwatch
from podium.solve.trace import read_traces
from podium.storage import read_rows

EXAMS = 10_000
LATENCY = 0.05  # seconds that cancelling takes, at most

POLICIES = [parse_policy(name) for name in [*shipped(), "all", "first_k_agree:2", "enough:2,share=0.5+m_of_n:4"]]
POLICIES.append(Policy("fitted", (OptimalStop((2.0, 6.0), ({"1-0-1": (0.0, 3.0)}, {"2-0-2": (0.0, 0.0)})),)))


@dataclass
class World:
    """True time, and what the clock on the wall says."""

    draw: random.Random
    jumping: bool
    now: float = 0.0
    offset: float = 0.0
    jumps: list[float] = field(default_factory=list)  # true times at which the clock jumps

    def __post_init__(self) -> None:
        if self.jumping:
            self.jumps = sorted(self.draw.uniform(0, 60) for _ in range(self.draw.randint(1, 6)))

    def read(self) -> float:
        return self.now + self.offset

    def advance(self, to: float) -> None:
        self.now = max(self.now, to)
        while self.jumps and self.jumps[0] <= self.now:
            self.jumps.pop(0)
            self.offset += self.draw.choice([-1, 1]) * self.draw.expovariate(0.2)


def attempt_events(draw: random.Random, engine: str, speed: float) -> list[tuple[float, str, int | None]]:
    """(seconds after the start, kind, answer) of one attempt on an engine."""
    if engine == "dead":
        return [] if draw.random() < 0.5 else [(draw.uniform(0, 0.2), "end", None)]
    length = draw.lognormvariate(0.5, 0.8) * speed
    if engine == "stalling" and draw.random() < 0.4:
        length += draw.uniform(10, 100)
    answer = draw.choice([None, 0, 0, 0, 1, 2])
    seen = [(length * 0.9, "answer", answer)] if answer is not None else []
    return [*seen, (length, "end", answer)]


def sit(policy: Policy, plan, world: World, engine: str, speed: float) -> tuple[float, int, tuple[int, ...]]:
    """One problem by true time and the wall's clock: (seconds measured, times answered, voters)."""
    watch, proctor, draw = Stopwatch(world.read), Proctor(policy, plan), world.draw
    agenda: list[tuple[float, int, int, str, int | None]] = []  # true time, order, attempt, kind, answer
    answers, voters, order = 0, (), 0
    actions = list(proctor.begin())
    while True:
        while actions:
            action = actions.pop(0)
            if action.kind == "start":
                actions += proctor.feed(Happening(watch.elapsed(), "start", action.attempt))
                for after, kind, answer in attempt_events(draw, engine, speed):
                    order += 1
                    agenda.append((world.now + after, order, action.attempt, kind, answer))
            elif action.kind == "answer":
                answers, voters = answers + 1, action.voters
        if answers:
            world.advance(world.now + draw.uniform(0, LATENCY))
            return watch.elapsed(), answers, voters
        agenda.sort()
        look = proctor.next_look
        assert look is not None or agenda
        wait = STEP if look is None else min(STEP, max(0.0, look - watch.elapsed()))
        wake = world.now + wait + 1e-6
        if agenda and agenda[0][0] <= wake:
            time, _, index, kind, answer = agenda.pop(0)
            world.advance(time)
            actions = list(proctor.feed(Happening(watch.elapsed(), kind, index, answer=answer)))
        else:
            world.advance(wake)
            if look is not None and watch.elapsed() >= look:
                actions = list(proctor.feed(Happening(watch.elapsed(), "tick")))


def test_ten_thousand_exams_keep_the_limit_answer_everything_and_account_for_every_second():
    clocked = outdated = 0
    for number in range(EXAMS):
        draw = random.Random(number)
        policy = draw.choice(POLICIES)
        engine = draw.choice(["steady", "steady", "stalling", "dead"])
        world = World(draw, jumping=draw.random() < 0.3)
        problems, n = draw.randint(1, 4), draw.choice([6, 6, 12])
        if any(n < least for least in [9] if policy.name == "runner-up"):
            n = 12
        budget = draw.uniform(0.05, 8.0) * problems
        ledger = Ledger(budget, problems)
        clock = policy.clock_for(ledger)
        assert clock is not None
        answered = 0
        for _ in range(problems):
            speed = draw.lognormvariate(0, 1)
            plan = policy.plan(clock, ledger, n, draw.choice([None, 2]))
            assert plan.seconds is not None
            assert 0 <= plan.seconds <= ledger.left + 1e-9
            used, answers, voters = sit(policy, plan, world, engine, speed)
            answered += answers
            assert len(set(voters)) == len(voters)
            clocked += used >= plan.seconds
            ledger = ledger.settled(used)
            assert sum(ledger.used) + pool(clock, ledger) == pytest.approx(clock.base * ledger.done)
        assert answered == problems
        assert world.now <= budget + 1.0, (number, policy.name, engine)
        # What was measured is hardly less than what went by, however the clock was set.
        assert ledger.elapsed >= world.now - 6 * STEP - 1e-6
        outdated += ledger.elapsed > budget
    assert clocked > EXAMS / 4  # the limit was really met
    assert outdated > 0


class MadeUpTime(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing is ready, its time goes on to the next timer at once."""

    def __init__(self) -> None:
        self.made_up = 0.0
        super().__init__(_Hurried(self))

    def time(self) -> float:
        return self.made_up

    def run_in_executor(self, executor, func, *args):
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _Hurried(selectors.SelectSelector):
    def __init__(self, loop: MadeUpTime) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        assert timeout is not None, "nothing will ever happen"
        self.loop.made_up += max(0.0, timeout)
        return super().select(0)


class Moody(Completer):
    """Engines of every kind; which one, by the problem's seed. `speed`: seconds of a piece, in the mean."""

    name = "moody"
    moods = ("steady", "steady", "steady", "stalling", "hanging", "deaf")

    def __init__(self, seed: int, speed: float) -> None:
        self.seed = seed
        self.speed = speed

    async def start(self, prompt, sampling):
        mood = random.Random(f"{self.seed}/{prompt[-1].content}").choice(self.moods)
        if mood == "deaf":  # it takes the request and never answers
            await asyncio.sleep(1e6)
        return MoodyAnswer(random.Random(sampling.seed), mood, self.speed)

    async def close(self):
        pass


class MoodyAnswer:
    def __init__(self, draw, mood, speed):
        self.draw, self.mood, self.speed, self.written = draw, mood, speed, 0

    async def __aiter__(self):
        for _ in range(self.draw.randint(1, 6)):
            await asyncio.sleep(self.draw.expovariate(1.0 / self.speed))
            if self.mood == "hanging" and self.draw.random() < 0.5:
                await asyncio.sleep(1e6)
            if self.mood == "stalling" and self.draw.random() < 0.1:
                await asyncio.sleep(self.draw.uniform(10, 200))
            if self.draw.random() < 0.02:
                raise CompleterError("the engine lost this request", "")
            self.written += 64
            yield Piece("so " * 64, tokens=(1,) * 64)
        yield Piece(f"\\boxed{{{self.draw.choice([7, 7, 7, 8, 9])}}}", tokens=(1,), finish="eos")

    async def cancel(self):
        await asyncio.sleep(self.draw.uniform(0, 0.01))
        return CompletionUsage(completion_tokens=self.written)


class Wall:
    """What the clock on the wall says: true time, and a jump now and then."""

    def __init__(self, draw: random.Random, jumping: bool, until: float, now) -> None:
        self.now, self.offset = now, 0.0
        moments = [draw.uniform(0, until) for _ in range(draw.randint(1, 6))] if jumping else []
        self.jumps = sorted((moment, draw.choice([-1, 1]) * draw.expovariate(0.5)) for moment in moments)

    def read(self) -> float:
        while self.jumps and self.jumps[0][0] <= self.now():
            self.offset += self.jumps.pop(0)[1]
        return self.now() + self.offset


def exam_in_made_up_time(seed: int, folder, policy: str, attempts: int, budget: float, problems: int) -> float:
    async def hold() -> float:
        loop = asyncio.get_running_loop()
        draw = random.Random(f"wall/{seed}")
        wall = Wall(draw, draw.random() < 0.3, budget, loop.time)
        rows = [Problem(id=f"p{i}", text=f"{seed} {i}", answer="7", verifier="integer") for i in range(problems)]
        config = ExamConfig(attempts=attempts, policy=policy, budget_seconds=budget, fallback="0", seed=seed)
        await sit_exam(rows, Moody(seed, draw.lognormvariate(-0.5, 1.0)), None, config, folder, read=wall.read)
        return loop.time()

    with asyncio.Runner(loop_factory=MadeUpTime) as runner:
        return runner.run(hold())


def check_live_exams(tmp_path, seeds: range) -> None:
    ended, lost = set(), 0
    for seed in seeds:
        draw = random.Random(seed)
        policy = draw.choice(["winner", "runner-up", "notebook", "all", "first_k_agree:3", "nudge:share=0.5"])
        problems, budget = draw.randint(2, 5), draw.uniform(4, 40)
        folder = tmp_path / str(seed)
        try:
            took = exam_in_made_up_time(seed, folder, policy, 12, budget, problems)
        except CompleterError:
            lost += 1  # every attempt at a problem failed: the exam stops there and can be gone on with
            continue
        results = read_rows(folder / "results.jsonl", ExamResult)
        assert took <= budget + 1.0
        assert len(results) == problems
        assert all(result.answer is not None for result in results)
        assert sum(r.used_seconds for r in results) + results[-1].pool_after == pytest.approx(
            parse_policy(policy).clock.scaled(budget, problems).base * problems
        )
        assert all(first_difference(trace, parse_policy(policy)) is None for trace in read_traces([folder]))
        for result in results:
            ended.add("clock" if result.clock_hit else "rule")
            # By the clock on the wall, which may jump beyond the deadline before an attempt has noticed.
            boxed = [
                event
                for attempt in result.attempts
                if attempt.stop_reason not in ("cancelled", "error")
                for event in attempt.events
                if event.kind == "answer" and event.time < result.granted_seconds
            ]
            assert bool(boxed) <= bool(result.votes)
        shutil.rmtree(folder)
    assert ended == {"clock", "rule"}
    assert lost <= len(seeds) / 20


def test_the_real_driver_in_made_up_time(tmp_path):
    check_live_exams(tmp_path, range(14))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 10_000, 1000))
def test_the_real_driver_in_made_up_time_at_length(tmp_path, first):
    check_live_exams(tmp_path, range(first, first + 1000))


def test_a_clock_set_back_never_lengthens_what_is_measured():
    readings = iter([100.0, 100.4, 40.0, 40.3, 1000.0])
    watch = Stopwatch(lambda: next(readings))
    assert watch.elapsed() == pytest.approx(0.4)
    assert watch.elapsed() == pytest.approx(0.4 + STEP)
    assert watch.elapsed() == pytest.approx(0.7 + STEP)
    assert watch.elapsed() > 900  # a jump forward is time that has passed
