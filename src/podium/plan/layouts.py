"""Layouts: how a training is spread over devices, and which of them can exist.

Everything downstream works on many layouts at once: `Layouts` holds one array per degree. What rules a layout out
before any memory is counted is decided here, with a reason.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from podium.errors import InputError
from podium.plan.counting import RECOMPUTATIONS, Recomputation
from podium.plan.shapes import Shape

Array: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. tensor × pipeline × context × data = devices; experts lie across data and context ranks."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    micro_batch: int = 1  # sequences
    interleave: int = 1  # chunks of layers per stage
    zero: int = 0  # what data-parallel ranks share out: 1 optimiser, 2 also gradients, 3 also weights (FSDP)
    sequence_parallel: bool = False
    recompute: Recomputation = "none"
    offload: bool = False  # optimiser states live in host memory

    @property
    def devices(self) -> int:
        return self.tp * self.pp * self.dp * self.cp

    def __str__(self) -> str:
        parts = [f"T{self.tp}", f"P{self.pp}", f"D{self.dp}"]
        parts += [f"C{self.cp}"] * (self.cp > 1) + [f"E{self.ep}"] * (self.ep > 1)
        return " ".join(parts)


_LETTERS = {"T": "tp", "P": "pp", "D": "dp", "C": "cp", "E": "ep", "B": "micro_batch", "V": "interleave", "Z": "zero"}


def parse_layout(text: str) -> dict[str, int]:
    """Degrees that are said: "T8P38D7" -> {"tp": 8, "pp": 38, "dp": 7}. Also C, E, B (micro-batch), V, Z (ZeRO).

    Raises:
        InputError: not of this form, a degree twice, or zero.
    """
    compact = re.sub(r"[\s,x·]", "", text).upper()
    if not compact or not re.fullmatch(r"([TPDCEBVZ][0-9]+)+", compact):
        raise InputError(f"layout {text!r} is not understood", "write for example T8P38D7 or T8P16D64C2")
    given: dict[str, int] = {}
    for letter, number in re.findall(r"([A-Z])([0-9]+)", compact):
        name = _LETTERS[letter]
        if name in given:
            raise InputError(f"layout {text!r} says {letter} twice", "say each degree once, e.g. T8P38D7")
        given[name] = int(number)
        if given[name] < 1 and name != "zero":
            raise InputError(f"layout {text!r}: {letter} is 0", "degrees are at least 1")
    if given.get("zero", 0) > 3:
        raise InputError(f"layout {text!r}: there is no ZeRO stage {given['zero']}", "stages are 0 to 3")
    return given


@dataclass(frozen=True, slots=True)
class Layouts:
    """Many layouts: arrays [N] of floats. `micro_batches` is how many of them one pipeline runs per step."""

    tp: Array
    pp: Array
    dp: Array
    cp: Array
    ep: Array
    micro_batch: Array
    micro_batches: Array
    interleave: Array
    zero: Array
    sequence_parallel: Array  # 0 or 1
    recompute: Array  # index into RECOMPUTATIONS
    offload: Array  # 0 or 1

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Layouts:
        return Layouts(*(getattr(self, item.name)[index] for item in fields(self)))

    def at(self, index: int) -> Layout:
        return Layout(
            tp=int(self.tp[index]),
            pp=int(self.pp[index]),
            dp=int(self.dp[index]),
            cp=int(self.cp[index]),
            ep=int(self.ep[index]),
            micro_batch=int(self.micro_batch[index]),
            interleave=int(self.interleave[index]),
            zero=int(self.zero[index]),
            sequence_parallel=bool(self.sequence_parallel[index]),
            recompute=RECOMPUTATIONS[int(self.recompute[index])],
            offload=bool(self.offload[index]),
        )

    @classmethod
    def of(cls, layouts: list[Layout], batch: int) -> Layouts:
        """From single ones; `batch` is the global batch in sequences."""
        columns = {
            item.name: np.array([float(getattr(layout, item.name)) for layout in layouts])
            for item in fields(Layout)
            if item.name != "recompute"
        }
        columns["recompute"] = np.array([float(RECOMPUTATIONS.index(layout.recompute)) for layout in layouts])
        columns["micro_batches"] = np.array([batch / (x.dp * x.micro_batch) for x in layouts])
        return cls(**columns)


@dataclass(frozen=True, slots=True)
class Choices:
    """Which values a search may take. Degrees that are None are found out."""

    tp: tuple[int, ...] | None = None
    pp: tuple[int, ...] | None = None
    cp: tuple[int, ...] | None = None
    ep: tuple[int, ...] | None = None
    micro_batch: tuple[int, ...] = (1, 2, 4, 8, 16)
    interleave: tuple[int, ...] | None = None
    zero: tuple[int, ...] = (0, 1, 3)
    recompute: tuple[Recomputation, ...] = ("none", "full")
    sequence_parallel: tuple[bool, ...] | None = None  # None: wherever there is tensor parallelism
    offload: tuple[bool, ...] = (False,)

    def fixed(self, given: dict[str, int]) -> Choices:
        """With the degrees of `parse_layout` fixed; dp follows from the others."""
        return replace(self, **{name: (value,) for name, value in given.items() if name != "dp"})


def divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def enumerate_layouts(
    shape: Shape, devices: int, domain: int, batch: int, sequence: int, choices: Choices
) -> tuple[Layouts, dict[str, int]]:
    """All layouts of `devices` that can exist, and how many cannot, by reason.

    A tensor-parallel group stays within the `domain` of the fast links and divides the heads; every pipeline stage
    has a layer; the batch divides into micro-batches; there are at least as many micro-batches as stages
    (interleaved: a multiple of them, as Megatron asks).
    """
    why: dict[str, int] = {}
    columns: list[Array] = []
    everything = divisors(devices)
    tensor = choices.tp or tuple(d for d in everything if d <= domain)
    pipeline = choices.pp or tuple(d for d in everything if d <= shape.layers)
    context = choices.cp or tuple(d for d in everything if d <= 64 and sequence // d >= 4096 and _power_of_two(d))
    for tp in tensor:
        for pp in pipeline:
            for cp in context or (1,):
                dp, rest = divmod(devices, tp * pp * cp)
                reason = _impossible(shape, tp, pp, cp, dp, rest, domain, batch, sequence)
                combinations = _inner(shape, tp, pp, dp, cp, domain, batch, choices)
                if reason:
                    why[reason] = why.get(reason, 0) + max(1, combinations.shape[1])
                    continue
                columns.append(combinations)
    table = np.concatenate(columns, axis=1) if columns else np.zeros((12, 0))
    layouts = Layouts(*table)
    keep = np.ones(len(layouts), dtype=bool)
    for reason, bad in _unworkable(layouts):
        if count := int((keep & bad).sum()):
            why[reason] = why.get(reason, 0) + count
        keep &= ~bad
    return layouts.take(keep), why


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _impossible(
    shape: Shape, tp: int, pp: int, cp: int, dp: int, rest: int, domain: int, batch: int, sequence: int
) -> str | None:
    if rest or dp < 1:
        return "tensor x pipeline x context does not divide the devices"
    if tp > domain:
        return f"tensor parallelism leaves the fast links, which join {domain} devices"
    if shape.heads % tp:
        return f"tensor parallelism does not divide the {shape.heads} heads"
    if pp > shape.layers or -(-shape.layers // pp) * (pp - 1) >= shape.layers:
        return f"a pipeline stage would have no layer ({shape.layers} layers)"
    if cp > 1 and sequence % (2 * cp):
        return "context parallelism does not divide the sequence into equal halves"
    if dp > batch:
        return f"more data-parallel ranks than the {batch} sequences of a batch"
    if batch % dp:
        return f"data parallelism does not divide the batch of {batch} sequences"
    return None


def _inner(shape: Shape, tp: int, pp: int, dp: int, cp: int, domain: int, batch: int, choices: Choices) -> Array:
    """The choices left once the big degrees are known, as columns of `Layouts`."""
    stage = -(-shape.layers // pp)
    # Chunks of equal size; where the layers leave a remainder, the last chunk is the shorter one.
    wanted = choices.interleave or (1, 2, 3, 4, 6, 8)
    interleave = tuple(v for v in wanted if pp > 1 and stage % v == 0) or (1,)
    if shape.experts:
        ranks = dp * cp
        # Expert ranks lie inside the data-parallel ones; beyond 64 the exchange only gets slower.
        experts = choices.ep or tuple(d for d in divisors(shape.experts.routed) if d <= 64 and ranks % d == 0) or (1,)
    else:
        experts = (1,)
    parallel = choices.sequence_parallel or ((True,) if tp > 1 else (False,))
    zero = tuple(z for z in choices.zero if dp * cp > 1 or z == 0) or (0,)
    if pp > 1 and len(zero) > 1:
        zero = tuple(z for z in zero if z < 2)  # gathering weights anew for every micro-batch defeats a pipeline
    grid = np.meshgrid(
        np.array(experts, dtype=float),
        np.array(choices.micro_batch, dtype=float),
        np.array(interleave, dtype=float),
        np.array(zero or (0,), dtype=float),
        np.array([float(p and tp > 1) for p in parallel]),
        np.array([float(RECOMPUTATIONS.index(r)) for r in choices.recompute]),
        np.array([float(o) for o in choices.offload]),
        indexing="ij",
    )
    ep, micro, chunks, stages, together, again, offload = (axis.ravel() for axis in grid)
    full = np.ones_like(ep)
    return np.stack(
        [
            full * tp,
            full * pp,
            full * dp,
            full * cp,
            ep,
            micro,
            batch / (dp * micro) if dp else full,
            chunks,
            stages,
            together,
            again,
            offload,
        ]
    )


def _unworkable(layouts: Layouts) -> list[tuple[str, NDArray[np.bool_]]]:
    m, pp = layouts.micro_batches, layouts.pp
    return [
        ("the micro-batch does not divide what one pipeline gets of the batch", m != np.floor(m)),
        ("fewer micro-batches than pipeline stages", (pp > 1) & (m < pp)),
        (
            "interleaving needs a multiple of the stages as number of micro-batches",
            (layouts.interleave > 1) & (np.mod(m, pp) != 0),
        ),
    ]
