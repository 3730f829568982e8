"""How large a model and how much data a budget is best spent on, and what serving it changes.

Chinchilla (arXiv 2203.15556): loss E + A / N^a + B / D^b under 6 N D = C. Three sets of constants are selectable by
name: "rule" is the 20 tokens per parameter its approaches 1 and 2 come to, "hoffmann" the paper's approach 3 as
printed, "besiroglu" its refit (arXiv 2404.10102), which agrees with the other two approaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from podium.errors import InputError, nearest

RULE = 20.0  # tokens per parameter


@dataclass(frozen=True, slots=True)
class Law:
    """E + A / N^alpha + B / D^beta, in nats per token."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float
    source: str

    def loss(self, parameters: float, tokens: float) -> float:
        return self.floor + self.a / parameters**self.alpha + self.b / tokens**self.beta

    def optimum(self, flop: float) -> tuple[float, float]:
        """N and D of least loss under 6 N D = `flop` (arXiv 2203.15556 equation 4)."""
        total = self.alpha + self.beta
        scale = (self.alpha * self.a / (self.beta * self.b)) ** (1 / total)
        parameters = scale * (flop / 6) ** (self.beta / total)
        return parameters, flop / 6 / parameters


LAWS = {
    "hoffmann": Law(1.69, 406.4, 0.34, 410.7, 0.28, "arXiv 2203.15556 appendix D.3"),
    "besiroglu": Law(1.8172, 482.01, 0.3478, 2085.43, 0.3658, "arXiv 2404.10102 table 1"),
}


def optimal(flop: float, law: str = "rule") -> tuple[float, float]:
    """Parameters and tokens a budget of `flop` is best spent on.

    Raises:
        InputError: unknown law.
    """
    if law == "rule":
        parameters = math.sqrt(flop / (6 * RULE))
        return parameters, RULE * parameters
    if law not in LAWS:
        raise InputError(f"unknown scaling law {law!r}", nearest(law, ["rule", *LAWS]))
    return LAWS[law].optimum(flop)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A model and its data, beside the rule."""

    parameters: float
    tokens: float
    tokens_per_parameter: float
    flop: float
    best_parameters: float  # for the same budget
    best_tokens: float
    missing_tokens: float  # until this model has 20 per parameter; 0: none
    excess_loss: float  # nats per token above the best for the same budget (besiroglu)


def judge(parameters: float, tokens: float) -> Judgement:
    """Whether a model is under- or over-trained by the rule, and what that costs in loss."""
    flop = 6 * parameters * tokens
    law = LAWS["besiroglu"]
    best = optimal(flop)
    return Judgement(
        parameters=parameters,
        tokens=tokens,
        tokens_per_parameter=tokens / parameters,
        flop=flop,
        best_parameters=best[0],
        best_tokens=best[1],
        missing_tokens=max(0.0, RULE * parameters - tokens),
        excess_loss=law.loss(parameters, tokens) - law.loss(*law.optimum(flop)),
    )


@dataclass(frozen=True, slots=True)
class Overtrained:
    """A smaller model trained longer to the same loss, and what both cost once it has answered."""

    parameters: float
    tokens: float
    training_flop: float
    serving_flop: float

    @property
    def total(self) -> float:
        return self.training_flop + self.serving_flop


def with_inference(flop: float, served_tokens: float, law: str = "besiroglu") -> tuple[Overtrained, Overtrained]:
    """(best for training alone, best for training and serving) at the loss the budget `flop` reaches.

    Training costs 6 N D, serving 2 N per token (arXiv 2401.00448 equation 1: the smallest sum at equal loss).

    Raises:
        InputError: unknown law ("rule" names no loss).
    """
    if law not in LAWS:
        raise InputError(f"scaling law {law!r} has no loss to hold equal", nearest(law, LAWS))
    curve = LAWS[law]
    parameters, tokens = curve.optimum(flop)
    target = curve.loss(parameters, tokens)
    plain = Overtrained(parameters, tokens, flop, 2 * parameters * served_tokens)

    def at(size: float) -> Overtrained | None:
        room = target - curve.floor - curve.a / size**curve.alpha
        if room <= 0:
            return None  # too small to reach this loss with any amount of data
        data = (curve.b / room) ** (1 / curve.beta)
        return Overtrained(size, data, 6 * size * data, 2 * size * served_tokens)

    # The sum is smooth with one minimum between the smallest size that can reach the loss and the plain optimum.
    best = plain
    for step in range(400):
        found = at(parameters * 10 ** (-2 * step / 400))
        if found and found.total < best.total:
            best = found
    return plain, best
