"""Guesses: n-grams against a search through the texts, the policy against a simulated machine, and that neither
changes what is said."""

import random
import shutil
from collections import Counter

import pytest
import torch

from podium.answering import Sampling
from podium.compress import DraftConfig, DraftHead, save_draft
from podium.errors import InputError
from podium.generate import Engine, speculate
from podium.generate.drafters import guesser
from podium.generate.drawing import TorchSampler
from podium.generate.guess import DraftRequest, Guess, Guesser
from podium.generate.native.build import native_library
from podium.generate.native.guess import NativeGuesser
from podium.generate.sequence import Sequence
from podium.generate.speculate import Adaptive, Fixed, StepTimes
from podium.generate.step import EngineCore
from podium.models import save_model
from tests.generate.conftest import random_model

NATIVE = pytest.param(
    NativeGuesser, marks=pytest.mark.skipif(native_library().library is None, reason=native_library().reason)
)
both = pytest.mark.parametrize("make", [Guesser, NATIVE])


def ask(guesser, key, tokens, prompt="a", limit=3, room=100):
    return guesser.guess([DraftRequest(key, tokens, prompt, None, limit)], None, room)[0]


# -- n-grams ---------------------------------------------------------------------------------------------------------


def search(texts, context, orders, depth):
    """The rule by brute force: look through all texts for the longest n-gram, let what followed vote in order."""
    context, chain = list(context), []
    for _ in range(depth):
        for order in sorted(orders, reverse=True):
            candidate, lead = None, 0
            if len(context) < order:
                continue
            for text in texts:
                for end in range(order, len(text)):
                    if text[end - order : end] == context[len(context) - order :]:
                        if candidate is None or (text[end] != candidate and lead <= 1):
                            candidate, lead = text[end], 1
                        else:
                            lead = min(7, lead + 1) if text[end] == candidate else lead - 1
            if candidate is not None:
                break
        if candidate is None:
            break
        chain.append(candidate)
        context.append(candidate)
    return chain


@both
@pytest.mark.parametrize("orders", [(2, 4, 6), (1, 3)])
def test_guesses_are_those_of_a_search(make, orders):
    draw = random.Random(0)
    guesser = make(orders=orders, depth=3)
    # One text after the other, token by token; contexts begin differently, so that nothing is counted as common.
    finished, guessed = [], 0
    for number in range(8):
        tokens = [100 + number]
        for _ in range(60):
            expected = search([*finished, tokens], tokens, orders, 3)
            assert ask(guesser, number, tokens) == expected
            guessed += len(expected)
            tokens += [draw.choice((1, 1, 1, 2, 3)) for _ in range(draw.randint(1, 3))]
        ask(guesser, number, tokens)
        finished.append(tokens)
    assert guessed > 500


@both
def test_siblings_learn_from_each_other_and_with_siblings_only_from_nobody_else(make):
    prompt = [1, 2, 3, 4, 5]
    for siblings_only, of_others in ((True, []), (False, [11, 12, 13])):
        guesser = make(siblings_only=siblings_only)
        ask(guesser, 0, [*prompt, 10, 11, 12, 13], "a")
        assert ask(guesser, 1, [*prompt, 10], "a") == [11, 12, 13]
        assert ask(guesser, 2, [*prompt, 10], "b") == of_others


@both
def test_what_ended_without_asking_is_learnt_later(make):
    guesser = make()
    ended = [1, 2, 3, 4, 5]
    ask(guesser, 0, ended)
    ended += [6, 7, 8]  # after it was last heard of
    assert ask(guesser, 1, [9, 4, 5]) == [6, 7, 8]


@both
def test_a_prompt_counts_once_for_all_siblings(make):
    guesser = make(orders=(2,))
    prompt = [1, 2, 3, 4, 1, 2, 3]
    for number in range(9):
        assert ask(guesser, number, [*prompt, 9], limit=1) == []
    assert ask(guesser, 99, [8, 1, 2], "b", limit=1) == [3]
    # 1 2 was followed by 3 twice in the prompt, however many siblings have it: after two votes for another it is over.
    ask(guesser, 100, [7, 1, 2, 5], "c")
    assert ask(guesser, 101, [6, 1, 2], "d", limit=1) == [3]
    ask(guesser, 102, [5, 1, 2, 5], "e")
    assert ask(guesser, 103, [4, 1, 2], "f", limit=1) == [5]


@both
def test_an_end_that_was_taken_back_does_no_harm(make):
    guesser = make(depth=3)
    tokens = [1, 2, 3, 4, 5, 6]
    ask(guesser, 0, tokens)
    del tokens[3:]
    assert ask(guesser, 0, tokens) == [4, 5, 6]  # it was said once
    tokens += [7, 8, 9, 7, 8, 9, 7, 8]
    assert ask(guesser, 0, tokens) == [9, 7, 8]
    tokens.clear()
    assert ask(guesser, 0, tokens) == []


@both
def test_limits(make):
    guesser = make(depth=5)
    text = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]
    assert ask(guesser, 0, text) == [3, 4, 5]
    assert ask(guesser, 0, text, limit=9) == [3, 4, 5, 6, 7]
    assert ask(guesser, 0, text, room=1) == [3]
    assert ask(guesser, 0, text, room=0) == []
    assert ask(guesser, 0, text, limit=0) == []
    assert guesser.guess([], None, 5) == []
    # The first guess of every completion comes before the second of any.
    texts = [[*text[:-1], 2], [9, 9], [50, 51, 5, 6]]
    requests = [DraftRequest(key, tokens, "a", None, 3) for key, tokens in enumerate(texts, 1)]
    assert guesser.guess(requests, None, 3) == [[3, 4], [], [7]]
    assert guesser.guess(requests, None, 9) == [[3, 4, 5], [], [7, 8, 1]]


@both
def test_memory_is_bounded_and_the_newest_is_kept(make):
    draw = random.Random(0)
    guesser = make(max_entries=3000, max_texts=20, depth=3)
    for number in range(300):
        tokens = [draw.randrange(1000) for _ in range(100)]
        ask(guesser, number, tokens, prompt=number)
        assert len(guesser) <= 3000
    assert max(map(len, (guesser._texts, guesser._prompts))) <= 20
    assert ask(guesser, "new", [5, *tokens[:10]], prompt="new") == tokens[10:13]


def test_ids_beyond_any_vocabulary_do_no_harm():
    tokens = [2**40 + i % 3 for i in range(9)]
    assert ask(Guesser(), 0, tokens) == [2**40, 2**40 + 1, 2**40 + 2]


def grow(draw, texts, phrases):
    for text in texts:
        for _ in range(draw.randint(0, 3)):
            text += draw.choice(phrases)[: draw.randint(1, 6)]


@NATIVE.marks[0]
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("siblings_only", [True, False])
def test_c_and_python_guess_the_same(timed, siblings_only):
    draw = random.Random(1)
    guessers = [make(siblings_only=siblings_only) for make in (Guesser, NativeGuesser)]
    phrases = [[draw.randrange(500) for _ in range(12)] for _ in range(40)]
    guessed = 0
    texts: dict[int, list[int]] = {}
    for step in range(300):
        if step % 5 == 0:
            texts[step] = [1000 + step % 3, 2, 3, 4]
        if len(texts) > 12:
            del texts[draw.choice(list(texts))]
        requests = [
            DraftRequest(key, tokens, key % 3, None, draw.randint(0, 9))
            for key, tokens in texts.items()
            if draw.random() < 0.9
        ]
        times = sorted(draw.uniform(1, 3) for _ in range(60)) if timed else None
        room = draw.randint(0, 40)
        said = [guesser.guess(requests, None, room, times, 1.02) for guesser in guessers]
        assert said[0] == said[1]
        guessed += sum(map(len, said[0]))
        grow(draw, texts.values(), phrases)
    assert guessed > 40


@NATIVE.marks[0]
def test_more_completions_than_are_remembered():
    guesser = NativeGuesser(max_texts=3, depth=2)
    texts = [[number, 1, 2, 3, 1, 2] for number in range(5)]
    for _ in range(4):
        requests = [DraftRequest(number, text, "a", None, 3) for number, text in enumerate(texts)]
        assert guesser.guess(requests, None, 99) == [[3, 1]] * 3 + [[]] * 2
        texts = texts[1:] + texts[:1]
        for text in texts:
            text += [3, 1, 2]


@NATIVE.marks[0]
def test_what_c_cannot_do_is_refused():
    with pytest.raises(InputError, match="orders"):
        NativeGuesser(orders=(2, 9))
    with pytest.raises(InputError, match="orders"):
        NativeGuesser(orders=(1, 2, 3, 4, 5))
    with pytest.raises(InputError, match="depth"):
        NativeGuesser(depth=17)


# -- what pays -------------------------------------------------------------------------------------------------------


def test_times_are_measured_or_between_measured_ones():
    times = StepTimes(8)
    times.add(2, 1.0)
    times.add(6, 3.0)
    times.add(9, 100.0)  # beyond what is asked for
    table = times.table()
    assert table[2:7] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert 0 < table[1] < 1 and 3 < table[7] < table[8] < 4  # noqa: PT018
    for _ in range(200):
        times.add(2, 2.0)
    times.add(2, 50.0)  # once, the machine did something else
    assert times.table()[2] == pytest.approx(2.0, rel=0.1)
    for _ in range(speculate.STALE):
        times.add(2, 2.0)
    assert times.table()[6] < 3.0, "a time of long ago is known no more"


def test_one_bad_measurement_is_not_believed_for_long():
    times = StepTimes(4)
    for _ in range(10):
        times.add(1, 1.0)
    times.add(3, 9.0)
    assert times.table()[3] == 9.0
    for _ in range(speculate.EARLY + 16):
        times.add(1, 1.0)
    assert times.table()[3] < 2.0
    times.add(3, 1.5)
    assert times.table()[3] == 1.5


class Machine(Guesser):
    """A clock, guesses that are right with probability `right`, and completions that go on accordingly: they consist of
    ones alone."""

    def __init__(self, monkeypatch, cost, right, asking, seed=0):
        super().__init__(orders=(), depth=3)
        self.now, self.cost, self.right, self.asking = 0.0, cost, right, asking
        self.draw = random.Random(seed)
        monkeypatch.setattr(speculate.time, "perf_counter", lambda: self.now)
        self.asked = 0

    def guess(self, requests, *rest):
        self.now += self.asking * len(requests)
        self.asked += 1
        return super().guess(requests, *rest)

    def _chain(self, text, head, limit):
        chain = [Guess(*guess) for guess in self.say(text)]
        text.open = [(guess, None) for guess in chain]
        return chain

    def say(self, text):
        return [(int(self.draw.random() < self.right), depth) for depth in range(3)]

    def run(self, rows, steps, proposer):
        """Tokens per second, and the share of steps with guesses."""
        began, tokens, guessing = self.now, 0, 0
        requests = [DraftRequest((rows, key), [1], "", None, 3) for key in range(rows)]
        for _ in range(steps):
            before, said = self.now, tokens
            chains = [[] for _ in requests] if proposer.rests(rows) else proposer.propose(requests, None, 100)
            self.now += self.cost(rows + sum(map(len, chains))) * self.draw.uniform(0.85, 1.15)
            for request, chain in zip(requests, chains, strict=True):
                right = next((i for i, guess in enumerate(chain) if guess != 1), len(chain))
                request.tokens.extend([1] * (right + 1))
                tokens += right + 1
            proposer.timed(rows + sum(map(len, chains)), self.now - before, tokens - said)
            guessing += any(chains)
        return tokens / (self.now - began), guessing / steps


COSTS = {
    "free": lambda rows: 300e-6 + 2e-6 * rows,
    "memory-bound": lambda rows: 300e-6 + 40e-6 * max(0, rows - 4),
    "compute-bound": lambda rows: 100e-6 * rows,
    "stairs": lambda rows: 200e-6 + 150e-6 * ((rows + 3) // 4),
}


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("right", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("asking", [3e-6, 100e-6])
def test_guessing_never_costs_much_and_gains_where_there_is_something_to_gain(monkeypatch, cost, right, rows, asking):
    machine = Machine(monkeypatch, COSTS[cost], right, asking)
    found, _ = machine.run(rows, 4000, Adaptive(machine))
    plain = rows / COSTS[cost](rows)
    assert found >= 0.97 * plain
    # What is to be had by always making the same number of guesses for the same number of completions.
    best = max(
        (rows + guessing * sum(right**d for d in range(1, depth + 1)))
        / (COSTS[cost](rows + guessing * depth) + asking * rows)
        for depth in (1, 2, 3)
        for guessing in range(1, rows + 1)
        if rows + guessing * depth <= 16
    )
    assert found >= 0.97 * (plain + 0.75 * (best - plain))


def test_a_hard_place_does_not_keep_it_from_the_easy_one_behind_it(monkeypatch):
    machine = Machine(monkeypatch, COSTS["memory-bound"], 0.0, 20e-6)

    def say(text):
        hard = machine.draw.random() < 0.5
        return [(int(not hard), (hard, depth)) for depth in range(3)]

    monkeypatch.setattr(machine, "say", say)
    found, guessing = machine.run(1, 2000, Adaptive(machine))
    assert 0.4 < guessing < 0.6
    # Four tokens or one, each time at the price of asking.
    assert found > 0.9 * 2.5 / (COSTS["memory-bound"](4) + 20e-6)


def test_it_stops_asking_where_nothing_can_pay(monkeypatch):
    machine = Machine(monkeypatch, COSTS["compute-bound"], 0.9, 3e-6)
    _, guessing = machine.run(12, 2000, Adaptive(machine))
    assert guessing < 0.1
    assert machine.asked < 300


def test_it_notices_when_there_are_fewer_completions(monkeypatch):
    machine = Machine(monkeypatch, COSTS["memory-bound"], 0.9, 3e-6)
    adaptive = Adaptive(machine, most_rows=12)
    assert machine.run(12, 500, adaptive)[1] == 0
    assert machine.run(1, 500, adaptive)[1] > 0.95


def test_rows_are_capped(monkeypatch):
    machine = Machine(monkeypatch, COSTS["free"], 0.9, 0.0)
    adaptive = Adaptive(machine, most_rows=7)
    for _ in range(speculate.SURE):
        adaptive.rests(4)
        adaptive.timed(4, 300e-6, 4)
    requests = [DraftRequest(key, [1], "", None, 3) for key in range(4)]
    guessed = 0
    for step in range(50):
        assert not adaptive.rests(4)
        room = 1 + 99 * (step % 2)
        count = sum(map(len, adaptive.propose(requests, None, room)))
        assert count <= min(3, room)
        guessed += count
        for request in requests:
            request.tokens.extend([1, 1, 1, 1])
        adaptive.timed(4 + count, 300e-6, 16)
    assert guessed > 80


def test_a_completion_that_is_hard_to_guess_gets_fewer_rows(monkeypatch):
    machine = Machine(monkeypatch, COSTS["memory-bound"], 1.0, 0.0)
    adaptive = Adaptive(machine)
    requests = [DraftRequest(key, [1], "", None, 3) for key in range(4)]
    given = Counter()
    for step in range(400):
        chains = [[] for _ in requests] if adaptive.rests(4) else adaptive.propose(requests, None, 100)
        tokens = 0
        for request, chain in zip(requests, chains, strict=True):
            new = [0] if request.key == 3 else [1] * (len(chain) + 1)
            request.tokens.extend(new)
            tokens += len(new)
            given[request.key] += len(chain) * (step >= 100)
        rows = 4 + sum(map(len, chains))
        adaptive.timed(rows, COSTS["memory-bound"](rows), tokens)
    assert given[3] < 0.3 * given[0]


# -- in the engine ---------------------------------------------------------------------------------------------------

SIZE, VOCABULARY, EOS = 4, 7, 0


class Letters:
    """The part of a tokenizer that the engine's core uses."""

    stop_ids = frozenset({EOS})

    def stream(self):
        return self

    def push(self, ids):
        return "".join([chr(96 + token) for token in ids if token])

    def flush(self):
        return ""


class Trigrams:
    """A runner whose logits depend on the last two tokens that its blocks show: invariant by construction, and with
    probabilities that can be worked out."""

    block_size, block_bytes, invariant, weight_bytes = SIZE, 100, True, 0
    vocab_size, state_size = VOCABULARY, 1

    def __init__(self, seed=0, spread=1.5):
        self.table = torch.randn(VOCABULARY, VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed))
        self.table *= spread
        self.rows = 0

    def tap(self, layers):
        """It has none."""

    def allocate(self, blocks):
        self.blocks = [[0] * SIZE for _ in range(blocks)]

    def copy(self, source, target):
        self.blocks[target][:] = self.blocks[source]

    def step(self, spans):
        for span in spans:
            for position, token in enumerate(span.tokens, span.start):
                self.blocks[span.blocks[position // SIZE]][position % SIZE] = token
        logits = []
        for span in spans:
            seen = [token for block in span.blocks for token in self.blocks[block]]
            end = span.start + len(span.tokens)
            logits += [self.table[seen[last - 1], seen[last]] for last in range(end - span.wanted, end)]
        self.rows += len(logits)
        return torch.stack(logits) if logits else torch.empty(0, VOCABULARY), torch.zeros(len(logits), 1)


def write(runner, proposer, samplings, prompt=(1, 2, 3)):
    """(tokens, logprobs) of one completion per sampling, all of them beside each other; and the engine's counts."""
    core = EngineCore(
        runner,
        TorchSampler(),
        Letters(),
        positions=200,
        max_rows=64,
        memory_bytes=100 * 2000,
        step_tokens=512,
        proposer=proposer,
    )
    sequences = [Sequence(tuple(prompt), sampling, Letters()) for sampling in samplings]
    with torch.inference_mode():
        for sequence in sequences:
            core.begin(sequence)
        while core.scheduler.running or core.scheduler.queue:
            core.step()
    said = []
    for sequence in sequences:
        drawn = [output for output in sequence.reader.outbox if output.token is not None]
        said.append(([output.token for output in drawn], [output.logprob for output in drawn]))
    return said, core.stats()


class Fearless:
    """Adaptive on a machine where guesses cost nothing."""

    def __new__(cls, drafter):
        adaptive = Adaptive(drafter, most_rows=40)
        adaptive.times.is_sure = lambda rows: True
        adaptive.times.add(1, 1.0)
        adaptive.times.add(40, 1.0)
        adaptive.timed = lambda rows, seconds, tokens: None
        return adaptive


SETTINGS = {
    "greedy": {},
    "sampled": {"temperature": 1.0},
    "filtered": {"temperature": 0.8, "top_p": 0.9, "top_k": 5},
    "penalised": {"temperature": 0.7, "repetition_penalty": 1.2, "presence_penalty": 0.1, "min_tokens": 30},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: Fixed(Guesser(depth=3)),
        lambda: Fixed(guesser(depth=3)),
        lambda: Fearless(guesser()),
        lambda: Fixed(guesser(orders=(1, 2), depth=9)),
    ],
)
def test_what_is_said_is_the_same_with_guesses_and_without(settings, make):
    samplings = [Sampling(max_tokens=60 + seed % 5, seed=seed, **settings) for seed in range(12)]
    plain, _ = write(Trigrams(), None, samplings)
    guessed, stats = write(Trigrams(), make(), samplings)
    assert guessed == plain
    assert stats.accepted_tokens > 20
    assert stats.draft_tokens > stats.accepted_tokens or settings == {}


class Likeliest:
    """Guesses the likeliest chain, or the least likely one."""

    taps = ()

    def __init__(self, table, worst=False):
        self.table, self.worst, self.last = table, worst, []

    def propose(self, requests, states, budget):
        chains = []
        for request in requests:
            context = list(request.tokens)
            for _ in range(min(request.limit, 3)):
                logits = self.table[context[-2], context[-1]]
                context.append(int(logits.argmin() if self.worst else logits.argmax()))
            chains.append(context[len(request.tokens) :])
        self.last = chains
        return chains

    def rests(self, rows):
        return False

    def expect(self, seconds):
        pass

    def timed(self, rows, seconds, tokens):
        pass


def chi_square(runner, said):
    """Statistic over (degrees of freedom) of the third and fourth tokens against what they must be."""
    probabilities = runner.table.softmax(-1).double()
    # joint[a, b]: of the last two tokens; a completion that ended stays at EOS, EOS.
    joint = torch.zeros(VOCABULARY, VOCABULARY, dtype=torch.float64)
    joint[2, 3] = 1.0
    for _ in range(4):
        following = torch.einsum("ab,abc->bc", joint * (torch.arange(VOCABULARY) != EOS), probabilities)
        following[EOS, EOS] += joint[:, EOS].sum()
        joint = following
    observed = Counter()
    for tokens, _ in said:
        padded = [*tokens, EOS, EOS, EOS, EOS][:4]
        observed[tuple(padded[2:]) if EOS not in padded[:3] else (EOS, EOS)] += 1
    total = 0.0
    cells = 0
    rest_expected = rest_observed = 0.0
    for a in range(VOCABULARY):
        for b in range(VOCABULARY):
            expected = float(joint[a, b]) * len(said)
            if expected < 8:
                rest_expected, rest_observed = rest_expected + expected, rest_observed + observed[a, b]
                continue
            total += (observed[a, b] - expected) ** 2 / expected
            cells += 1
    if rest_expected >= 1:
        total += (rest_observed - rest_expected) ** 2 / rest_expected
        cells += 1
    freedom = cells - 1
    return (total - freedom) / (2 * freedom) ** 0.5, cells  # about normal: standard deviations from what is expected


def draw_many(proposer_of, number=4000):
    runner = Trigrams(3, spread=1.2)
    proposer = proposer_of(runner)
    said = []
    for first in range(0, number, 50):
        samplings = [Sampling(max_tokens=4, temperature=1.0, seed=seed) for seed in range(first, first + 50)]
        said += write(runner, proposer, samplings)[0]
    return chi_square(runner, said)


@pytest.mark.parametrize("worst", [False, True])
def test_sampled_tokens_have_the_targets_distribution(worst):
    deviations, cells = draw_many(lambda runner: Likeliest(runner.table, worst))
    assert cells > 15
    assert deviations < 4


def test_the_test_of_the_distribution_sees_a_wrong_rule(monkeypatch):
    """Keeping guesses that are merely likely enough ("typical acceptance") is not exact, and is found out."""
    proposers = []

    def proposer_of(runner):
        proposers.append(Likeliest(runner.table))
        return proposers[-1]

    exact = TorchSampler.sample

    def typical(self, logits, *rest):
        tokens, logprobs, *tops = exact(self, logits, *rest)
        guesses = [guess for chain in proposers[0].last for guess in (*chain, None)]
        if len(guesses) == len(tokens):
            for row, guess in enumerate(guesses):
                if guess is not None and float(logits[row].softmax(-1)[guess]) > 0.3:
                    tokens[row] = guess
        return tokens, logprobs, *tops

    monkeypatch.setattr(TorchSampler, "sample", typical)
    deviations, _ = draw_many(proposer_of)
    assert deviations > 10


@NATIVE.marks[0]
async def test_an_engine_uses_the_draft_head_in_its_models_folder(tokenizer, tmp_path):
    model = random_model(tokenizer)
    config = DraftConfig(64, model.config.vocab_size, tuple(range(200)), taps=(0,))
    save_model(tmp_path / "model", model, tokenizer)
    save_draft(tmp_path / "model" / "draft", DraftHead(config, model))
    said = []
    for name, wanted in (("own", True), ("none", False)):
        engine = Engine.load(tmp_path / "model", drafter=name, format="fp32", memory_bytes=1 << 22)
        try:
            drafting = engine._core.drafting
            assert (drafting is not None and drafting.proposer.taps == (0,)) == wanted
            completion = await engine.start("What is 12 + 31?", Sampling(max_tokens=60, ignore_eos=True))
            said.append([token async for piece in completion for token in piece.tokens])
            assert len(said[-1]) == 60
        finally:
            await engine.close()
    assert said[0] == said[1]
    torch_engine = Engine.load(tmp_path / "model", kernel="torch", memory_bytes=1 << 22)
    assert torch_engine._core.drafting is None  # guesses would leave a trace
    await torch_engine.close()
    other = random_model(tokenizer, hidden_size=32)
    save_draft(tmp_path / "other", DraftHead(DraftConfig(32, other.config.vocab_size, (1, 2)), other))
    shutil.rmtree(tmp_path / "model" / "draft")
    shutil.move(tmp_path / "other", tmp_path / "model" / "draft")
    with pytest.raises(InputError, match="hidden size 32"):
        Engine.load(tmp_path / "model")
