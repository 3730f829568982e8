"""Scheduler and cache under random use: every answer is that of a model which sees exactly its own context.

The model here is a checksum of the tokens that a table of blocks shows, so that one wrong, stale or missing token in
any block changes the answer. What the answers must be is computed from the contexts alone.
"""

import random
import zlib
from collections import Counter

import pytest
import torch

from podium.answering import Sampling
from podium.generate.cache import BlockPool
from podium.generate.drawing import TorchSampler
from podium.generate.sequence import Scoring, Sequence
from podium.generate.step import EngineCore
from tests.generate.conftest import memory_for

SIZE = 4  # positions per block
LETTERS = 26
HELD = LETTERS - 1  # its text is not shown before the next token is there, like half a character
EOS = 2 * LETTERS  # after 26 tokens of one letter and 26 of two
VOCABULARY = EOS + 1


def text_of(token):
    if token == EOS:
        return ""
    return chr(97 + token) if token < LETTERS else chr(97 + token - LETTERS) + chr(97 + (token * 7) % LETTERS)


def next_token(context):
    return zlib.crc32(bytes(context)) % VOCABULARY


class Letters:
    """The part of a tokenizer that the engine's core uses."""

    stop_ids = frozenset({EOS})

    def stream(self, after=()):
        return Shown()

    def decode(self, ids):
        return "".join(map(text_of, ids))

    def encode_model(self, text):
        return [ord(letter) - 97 for letter in text]


class Shown:
    """The text of tokens as they come."""

    def __init__(self):
        self.held = ""

    def push(self, ids):
        text = ""
        for token in ids:
            text += self.held + ("" if token == HELD else text_of(token))
            self.held = text_of(HELD) if token == HELD else ""
        return text

    def flush(self):
        text, self.held = self.held, ""
        return text


class Checksums:
    """A runner whose blocks hold token ids."""

    block_size = SIZE
    block_bytes = 100
    invariant = True
    vocab_size, state_size = VOCABULARY, 1
    weight_bytes = 0

    def tap(self, layers):
        """It has none."""

    def allocate(self, blocks):
        self.blocks = [bytearray(SIZE) for _ in range(blocks)]
        self.copies = 0

    def copy(self, source, target):
        self.copies += 1
        self.blocks[target][:] = self.blocks[source]

    def step(self, spans):
        writers = Counter()
        for span in spans:
            assert len(span.tokens) >= 1
            for position, token in enumerate(span.tokens, span.start):
                self.blocks[span.blocks[position // SIZE]][position % SIZE] = token
            end = span.start + len(span.tokens)
            writers.update(set(span.blocks[span.start // SIZE : -(-end // SIZE)]))
        readers = Counter(block for span in spans for block in set(span.blocks))
        assert all(count == 1 and readers[block] == 1 for block, count in writers.items()), "written while shared"
        logits = []
        for span in spans:
            seen = b"".join([self.blocks[block] for block in span.blocks])
            end = span.start + len(span.tokens)
            logits += [next_token(seen[:known]) for known in range(end - span.wanted + 1, end + 1)]
        at = torch.tensor(logits, dtype=torch.long)
        return torch.nn.functional.one_hot(at, VOCABULARY).float() * 50, at[:, None].float()


class Guesser:
    taps = ()

    def __init__(self, rng):
        self.rng = rng

    def propose(self, requests, states, budget):
        guesses = []
        for request in requests:
            context, chain = list(request.tokens), []
            while len(chain) < min(budget, 5) and self.rng.random() < 0.7:
                chain.append(next_token(context) if self.rng.random() < 0.8 else self.rng.randrange(VOCABULARY))
                context.append(chain[-1])
            guesses.append(chain)
            budget -= len(chain)
        return guesses

    def rests(self, rows):
        return False

    def expect(self, seconds):
        pass

    def timed(self, rows, seconds, tokens):
        pass


class Driver:
    """Does what users do, at random, and checks every answer and the books."""

    def __init__(self, seed, blocks, rows, budget, speculate):
        self.rng = random.Random(seed)
        self.runner = Checksums()
        self.core = EngineCore(
            self.runner,
            TorchSampler(),
            Letters(),
            positions=120,
            max_rows=rows,
            memory_bytes=memory_for(blocks, self.runner),
            step_tokens=budget,
            proposer=Guesser(self.rng) if speculate else None,
        )
        self.most = 3 * rows
        self.sequences = []
        self.histories = {}  # context as it must be
        self.shown = {}
        self.ended = Counter()
        stem = [self.rng.randrange(EOS) for _ in range(60)]
        lengths = [self.rng.randrange(1, min(60, self.core.context - 1)) for _ in range(8)]
        self.prompts = [[*stem[: n // 2], *(self.rng.randrange(EOS) for _ in range(n - n // 2))] for n in lengths]
        self.prompts += [stem[:SIZE], stem[: 2 * SIZE], stem[: SIZE + 1]]
        self.prompts = [prompt for prompt in self.prompts if len(prompt) < self.core.context]

    def start(self):
        prompt = self.rng.choice(self.prompts)
        stop = tuple(chr(97 + self.rng.randrange(LETTERS)) for _ in range(self.rng.randrange(4)))
        sampling = Sampling(max_tokens=self.rng.randrange(1, 40), stop=stop)
        for _ in range(self.rng.choice([1, 1, 2, 6])):
            sequence = Sequence(tuple(prompt), sampling, Shown())
            self.sequences.append(sequence)
            self.histories[sequence] = list(prompt)
            self.shown[sequence] = Shown()
            self.core.begin(sequence)

    def score(self):
        sequence = Sequence(tuple(self.rng.choice(self.prompts)), Sampling(), Shown(), Scoring(2))
        self.sequences.append(sequence)
        self.core.begin(sequence)

    def extend(self):
        paused = [sequence for sequence in self.sequences if sequence.state == "paused"]
        if paused:
            sequence = self.rng.choice(paused)
            self.read(sequence)
            tokens = [self.rng.randrange(EOS) for _ in range(self.rng.randrange(12))]
            self.core.resume(sequence, tokens)
            if sequence.state != "done":
                self.histories[sequence] += tokens

    def cancel(self):
        if self.sequences:
            self.core.drop(self.rng.choice(self.sequences))

    def step(self):
        scheduler = self.core.scheduler
        if scheduler.running or scheduler.queue:
            before = self.core.stats().steps
            self.core.step()
            assert self.core.stats().steps == before + 1, "something waits and nothing was done"
        for sequence in [s for s in self.sequences if s.state == "done"]:
            self.read(sequence)
            self.sequences.remove(sequence)

    def read(self, sequence):
        """Check what was said against what the context demands."""
        if sequence.scoring is not None:
            self.check_score(sequence)
            return
        context = self.histories[sequence]
        while sequence.reader.outbox:
            output = sequence.reader.outbox.popleft()
            self.ended[output.finish] += 1
            if output.token is None:
                assert output.finish in ("cancelled", "length")
                continue
            assert output.token == next_token(context)
            context.append(output.token)
            if output.token == EOS:
                assert output.finish == "eos"
                continue
            text = self.shown[sequence].push([output.token])
            ends = [i + 1 for i, letter in enumerate(text) if letter in sequence.sampling.stop]
            assert (output.finish == "stop") == bool(ends)
            if ends:
                assert output.text == text[: ends[0]]
                assert output.stop == output.text[-1]
                own = len(text) - len(text_of(output.token)) if output.token != HELD else len(text)
                if ends[0] < len(text) or output.token == HELD:
                    # In its place stands what was shown of it, which may be nothing.
                    context[-1:] = Letters().encode_model(text[own : ends[0]])
                self.shown[sequence].flush()
        assert sequence.state != "paused" or sequence.tokens == context

    def check_score(self, sequence):
        finish = sequence.reader.outbox.popleft().finish
        self.ended[f"score {finish}"] += 1
        if finish == "length":
            tokens = sequence.tokens
            said = [next_token(tokens[:i]) for i in range(1, len(tokens))]
            found = sequence.scoring.logprobs
            assert found[0] is None
            assert [logprob > -1 for logprob in found[1:]] == [a == b for a, b in zip(said, tokens[1:], strict=True)]
            assert [top[0][0] for top in sequence.scoring.top[1:]] == said

    def check_books(self):
        core, pool = self.core, self.core.pool
        held, kept = Counter(), Counter()
        for sequence in self.sequences:
            held.update(sequence.blocks)
            assert not sequence.blocks or sequence.state == "running"
            assert len(set(sequence.blocks)) == len(sequence.blocks)
            kept.update(block for block, use in sequence.held_blocks if pool._use[block] == use)
            seen = b"".join([self.runner.blocks[block] for block in sequence.blocks])
            assert list(seen[: sequence.computed]) == sequence.tokens[: sequence.computed]
            full = sequence.computed // SIZE
            assert all(held[b] >= 1 for b in sequence.blocks[:full])
        for sequence in self.sequences:  # half-full blocks are nobody else's
            assert all(held[block] == 1 for block in sequence.blocks[-(-(sequence.computed + 1) // SIZE) - 1 :])
        assert [held[block] for block in range(pool.count)] == pool._references
        assert [kept[block] for block in range(pool.count)] == pool._holds
        assert set(pool._cold) == {b for b in range(pool.count) if not held[b] and not kept[b]}
        assert set(pool._warm) == {b for b in range(pool.count) if not held[b] and kept[b]}
        assert {d: b for b, d in enumerate(pool._digests) if d is not None} == pool._blocks
        assert {k: e.block for k, e in pool._endings.items()} == {k: b for b, k in pool._ending_in.items()}
        assert len(pool._endings) <= 16
        assert len(core.scheduler.running) <= core.scheduler.max_rows
        assert {s for s in self.sequences if s.state == "running"} == set(core.scheduler.running)
        assert {s for s in self.sequences if s.state == "waiting"} == set(core.scheduler.queue)

    def run(self, operations):
        choices = [self.start, self.score, self.extend, self.cancel, self.step]
        for number in range(operations):
            crowded = len(self.sequences) > self.most
            operation = self.rng.choices(choices, [0 if crowded else 5, 0 if crowded else 1, 8, 1, 20])[0]
            operation()
            if number % 5 == 0:
                self.check_books()
        # Whoever still runs comes to an end; nothing is left behind.
        for _ in range(10_000):
            for sequence in list(self.sequences):
                if sequence.state == "paused":
                    self.core.drop(sequence)
            self.step()
            if not self.sequences:
                break
        assert not self.sequences
        self.check_books()
        stats = self.core.stats()
        assert (stats.blocks_used, stats.running, stats.waiting, stats.paused) == (0, 0, 0, 0)
        return stats


@pytest.fixture
def one_thread():
    """Many small operations are slow where torch's threads wait for a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("blocks", "rows", "budget", "speculate"),
    [(12, 5, 9, False), (40, 8, 30, True), (120, 12, 512, False), (25, 24, 40, True), (1, 3, 5, False)],
)
def test_random_use(blocks, rows, budget, speculate, one_thread):
    with torch.inference_mode():
        driver = Driver(blocks, blocks, rows, budget, speculate)
        stats = driver.run(10_000)
    assert min(driver.ended[finish] for finish in ("stop", "length", "cancelled", "score length")) > 20
    if blocks > 1:
        assert driver.runner.copies > 100, "no prompt was forked"
        assert stats.cache_hit_tokens > 1000
        assert (stats.preemptions > 100) == (blocks < 100)
        assert driver.ended["eos"] > 100
    assert (stats.accepted_tokens > 1000) == speculate


def test_what_was_released_last_is_reused_last_and_what_is_held_after_that():
    pool = BlockPool(6, SIZE, endings=16)
    first, second, third = [[pool.take(), pool.take()] for _ in range(3)]
    for i, table in enumerate((first, second, third)):
        for j, block in enumerate(table):
            pool.publish(block, bytes([i, j]))
    held = pool.hold(second)
    pool.release(third)
    pool.release(first)
    assert pool.find([bytes([0, 0]), bytes([0, 1])]) == first
    assert [pool.take() for _ in range(4)] == [*reversed(third), *reversed(first)]
    assert pool.find([bytes([0, 0])]) == []
    assert pool.still_there(held) == second
    assert pool.take() == second[1]
    assert pool.still_there(held) == second[:1]
    pool.forget(held)
    assert pool.available == 1
