"""Attempts at a problem within the exam's clock: a roofline of prefill and decoding, with the memory of caches.

A `Server` is one copy of the model: its devices share the weights (tensor parallelism) and decode attempts side by
side. A decoding step reads the weights once and every attempt's cache; a prefill is arithmetic. A `Fleet` is several
copies between which the attempts are dealt out: copies read the weights more often in all and wait for no link.
`Engine` holds the four numbers that no data sheet gives. CONTEST holds the published speeds they are checked against;
`measured` puts both side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from podium.errors import InputError
from podium.plan.counting import parameters
from podium.plan.hardware import Device, find_device
from podium.plan.inference_memory import WEIGHT_BYTES, cache_bytes, serving_memory
from podium.plan.named import find_model
from podium.plan.shapes import Shape
from podium.plan.units import parse_devices

# arXiv 2504.16891 section 6.3.4, 50 problems: a problem brings 350 s, takes at most 560 s where others left time over.
PAPER_BASE, PAPER_CAP = 350.0, 560.0
MOST = 4096  # attempts; more than any vote needs


@dataclass(frozen=True, slots=True)
class Engine:
    """How near to the data sheet an engine gets. The first two and `pcie_hop` fit the L4 rows of CONTEST."""

    stream: float = 0.57  # of the memory's bandwidth, while decoding
    step: float = 1.5e-3  # seconds per step: scheduling, sampling, launches
    products: float = 0.6  # of the reachable matrix peak, in a prefill
    link_hop: float = 12e-6  # seconds of an all-reduce that carries little, over NVLink and its like
    pcie_hop: float = 60e-6  # the same through host memory


@dataclass(frozen=True, slots=True)
class Server:
    """A model on one group of `ranks` devices.

    `speedup` is tokens per second with speculative decoding over those without, as measured: what a drafter wins
    depends on how often it is right, which no shape tells (ReDrafter in the contest: 554 / 310 = 1.79).
    """

    shape: Shape
    device: Device
    ranks: int = 1
    weights: str = "bf16"
    cache: str = "bf16"
    speedup: float = 1.0
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        if not 1.0 <= self.speedup <= 10:
            raise InputError(f"a speed-up of {self.speedup:g} by speculation", "give tokens/s with over without, 1-10")
        if self.weights == "fp8" and not ({"fp8"} & set(self.device.peak)):
            raise InputError(f"{self.device.name} has no fp8 arithmetic", "use int8 or int4 weights on it")

    @property
    def name(self) -> str:
        return f"{self.ranks}x{self.device.name}"

    def fits(self, context: int) -> int:
        """Sequences of `context` tokens whose caches fit beside the weights; 0 where not even these do."""
        memory = serving_memory(
            self.shape, self.device, context, ranks=self.ranks, weights=self.weights, cache=self.cache
        )
        return memory.sequences if memory.free > 0 else 0

    def step_seconds(self, rows: int, context: float) -> float:
        """One decoding step of `rows` sequences that each hold `context` tokens."""
        shape, ranks = self.shape, self.ranks
        counted = parameters(shape)
        outside = counted.head or counted.embedding  # a tied head is read as the embedding
        inside = counted.total - counted.embedding - counted.head
        if experts := shape.experts:
            # Of the routed experts those are read that at least one row visits.
            idle = counted.total - counted.active
            visited = 1 - (1 - experts.active / experts.routed) ** rows
            routed = idle / (1 - experts.active / experts.routed)
            inside -= routed * (1 - visited)
        read = inside * WEIGHT_BYTES[self.weights] + outside * max(2.0, WEIGHT_BYTES[self.weights])
        repeats = ranks if shape.latent else max(1.0, ranks / shape.kv_heads)
        cached = rows * cache_bytes(shape, max(1, round(context)), self.cache) * repeats
        traffic = (read + cached) / ranks / (self.device.bandwidth * self.engine.stream)
        arithmetic = 2 * counted.active * rows / ranks / self._peak()
        return max(traffic, arithmetic) + self._all_reduces(rows) + self.engine.step

    def prefill_seconds(self, tokens: int) -> float:
        """Reading one prompt; all attempts at a problem share it."""
        if tokens <= 0:
            return 0.0
        counted = parameters(self.shape)
        operations = 2 * (counted.active - counted.embedding) * tokens
        operations += 2 * self.shape.q_width * self.shape.layers * tokens * tokens  # scores, causal
        least = self.step_seconds(1, tokens)
        return max(least, operations / self.ranks / self._peak() + self._all_reduces(tokens))

    def tokens_per_second(self, rows: int, context: float) -> float:
        """Of all rows together."""
        return rows * self.speedup / self.step_seconds(rows, context)

    def attempt_seconds(self, attempts: int, length: int, prompt: int = 256) -> float:
        """All of `attempts` attempts of `length` tokens each, side by side as far as their caches fit; infinite where
        not even one does.

        Raises:
            InputError: no attempts, no tokens.
        """
        if attempts < 1 or length < 1 or prompt < 0:
            raise InputError(f"{attempts} attempts of {length} tokens", "both must be at least 1")
        rows = self.fits(prompt + length)
        if rows < 1:
            return math.inf
        full, rest = divmod(attempts, rows)
        seconds = self.prefill_seconds(prompt)
        for waves, width in ((full, rows), (1 if rest else 0, rest)):
            if waves:
                # A step is linear in the context but for a kink where arithmetic takes over: a few points do.
                points = 5
                mean = (
                    sum(self.step_seconds(width, prompt + length * (i + 0.5) / points) for i in range(points)) / points
                )
                seconds += waves * length * mean / self.speedup
        return seconds

    def most_attempts(self, length: int, seconds: float, prompt: int = 256) -> int:
        """Attempts of `length` tokens that are done in `seconds`; 0: not one."""
        return _largest(lambda n: self.attempt_seconds(n, length, prompt) <= seconds, MOST)

    def longest(self, attempts: int, seconds: float, prompt: int = 256, limit: int = 1 << 20) -> int:
        """Tokens each of `attempts` attempts may take in `seconds`; 0: not one."""
        return _largest(lambda length: self.attempt_seconds(attempts, length, prompt) <= seconds, limit)

    def _peak(self) -> float:
        narrow = {"fp8": ("fp8",), "fp4": ("fp4", "fp8")}.get(self.weights, ())
        wide = ("fp32",) if self.weights == "fp32" else ()
        peak = self.device.best(*narrow, *wide, "bf16", "fp16", "fp32")
        return peak * self.device.achievable * self.engine.products

    def _all_reduces(self, tokens: int) -> float:
        """Two per layer, of `tokens` rows."""
        if self.ranks == 1:
            return 0.0
        near = self.device.domain >= self.ranks
        size = 2.0 * tokens * self.shape.hidden
        moved = 2 * size * (self.ranks - 1) / self.ranks / (0.7 * self.device.link)
        if not near and self.device.domain > 1:
            moved = 2 * size * (self.ranks - 1) / self.ranks / (0.7 * self.device.network)
        return 2 * self.shape.layers * ((self.engine.link_hop if near else self.engine.pcie_hop) + moved)


@dataclass(frozen=True, slots=True)
class Fleet:
    """`copies` of a server; the attempts at a problem are dealt out evenly, and each copy reads the prompt itself."""

    server: Server
    copies: int = 1

    @property
    def devices(self) -> int:
        return self.server.ranks * self.copies

    @property
    def name(self) -> str:
        return f"{self.devices}x{self.server.device.name}"

    def fits(self, context: int) -> int:
        """Sequences of `context` tokens whose caches fit at once, in all copies together."""
        return self.copies * self.server.fits(context)

    def tokens_per_second(self, rows: int, context: float) -> float:
        """Of all rows together, in all copies."""
        each, more = divmod(rows, self.copies)
        shares = ((more, each + 1), (self.copies - more, each))
        return sum(count * self.server.tokens_per_second(width, context) for count, width in shares if count and width)

    def attempt_seconds(self, attempts: int, length: int, prompt: int = 256) -> float:
        """Until the copy with the most attempts is done; see Server.attempt_seconds."""
        return self.server.attempt_seconds(math.ceil(attempts / self.copies), length, prompt)

    def most_attempts(self, length: int, seconds: float, prompt: int = 256) -> int:
        """Attempts of `length` tokens that are done in `seconds`; 0: not one."""
        return min(MOST, self.copies * self.server.most_attempts(length, seconds, prompt))

    def longest(self, attempts: int, seconds: float, prompt: int = 256) -> int:
        """Tokens each of `attempts` attempts may take in `seconds`; 0: not one."""
        return self.server.longest(math.ceil(attempts / self.copies), seconds, prompt)


def fleets(server: Server) -> list[Fleet]:
    """Every way to use the devices of a server: as one copy, as one copy per device, and what lies between.

    Ways in which the model cannot be cut are left out.

    Raises:
        InputError: it can be cut in none.
    """
    found: list[Fleet] = []
    refused: InputError | None = None
    for copies in range(1, server.ranks + 1):
        if server.ranks % copies:
            continue
        fleet = Fleet(replace(server, ranks=server.ranks // copies), copies)
        try:
            fleet.fits(1)
        except InputError as error:
            refused = refused or error
            continue
        found.append(fleet)
    if not found:
        assert refused is not None
        raise refused
    return found


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, given that all below it do; 0: none."""
    if not fits(1):
        return 0
    good, bad = 1, 2
    while bad <= limit and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, limit + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds a problem brings, and the most it may take when others left time over."""

    base: float
    cap: float


def exam_clock(seconds: float, problems: int) -> Clock:
    """The contest's clock stretched to an exam of `problems` problems in `seconds`.

    Raises:
        InputError: no problems, no time.
    """
    if problems < 1:
        raise InputError(f"an exam of {problems} problems", "give at least 1")
    if seconds / problems < 0.01:
        raise InputError(f"{seconds:g} s for {problems} problems", "is the unit right? Write for example 5h")
    return Clock(seconds / problems, seconds / problems * PAPER_CAP / PAPER_BASE)


@dataclass(frozen=True, slots=True)
class Published:
    """A measured speed: tokens/s of all attempts together."""

    gpus: str
    model: str
    weights: str
    attempts: int
    context: int  # on average; not published, see `measured`
    tokens_per_second: float
    source: str


_TABLE9 = "arXiv 2504.16891 table 9, maj@12"
_NOTEBOOK = "NeMo-Skills tutorial notebook, one problem, 10 of 12 attempts finished; no speculation"
CONTEST = (
    Published("4xL4", "qwen2.5-14b", "bf16", 12, 2300, 210, _TABLE9),
    Published("4xL4", "qwen2.5-14b", "int8", 12, 2300, 315, _TABLE9),
    Published("4xL4", "qwen2.5-14b", "fp8", 12, 2300, 310, _TABLE9),
    Published("4xL4", "qwen2.5-14b", "int4", 12, 2300, 436, _TABLE9),
    Published("2xH100", "qwen2.5-14b", "bf16", 10, 2300, 346, _NOTEBOOK),
    Published("2xH100", "qwen2.5-14b", "fp8", 10, 2300, 752, _NOTEBOOK),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A published speed beside this planner's."""

    row: Published
    predicted: float

    @property
    def error(self) -> float:
        return self.predicted / self.row.tokens_per_second - 1


def measured(row: Published) -> Measured:
    """What the roofline says of a published row.

    How long the attempts were on average is not published; 3,500 tokens of context make the bf16 and int4 rows on L4
    agree, and int8 and fp8 are then predictions. The notebook's engine was far from the roofline on H100.
    """
    ranks, device = parse_devices(row.gpus)
    shape = find_model(row.model)
    assert isinstance(shape, Shape)
    server = Server(shape, find_device(device), ranks, row.weights)
    return Measured(row, server.tokens_per_second(row.attempts, row.context))
