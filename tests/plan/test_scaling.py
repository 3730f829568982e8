"""Budgets: optima found by brute force, and the accounting table of known models."""

from __future__ import annotations

import numpy as np
import pytest

from podium.errors import InputError
from podium.plan.counting import parameters
from podium.plan.named import find_model
from podium.plan.scaling import LAWS, judge, optimal, with_inference
from podium.plan.units import PFLOPS_DAY


@pytest.mark.parametrize("law", LAWS)
def test_the_optimum_is_the_least_loss(law: str) -> None:
    flop = 5.76e23
    sizes = np.geomspace(1e9, 1e12, 20_001)
    losses = [LAWS[law].loss(n, flop / 6 / n) for n in sizes]
    found, tokens = optimal(flop, law)
    assert found == pytest.approx(sizes[int(np.argmin(losses))], rel=2e-3)
    assert 6 * found * tokens == pytest.approx(flop)


def test_chinchilla_itself() -> None:
    parameters_, tokens = optimal(5.76e23)
    assert parameters_ == pytest.approx(69.3e9, rel=0.01)
    assert tokens == pytest.approx(1.4e12, rel=0.02)
    refit = optimal(5.76e23, "besiroglu")
    assert refit[1] / refit[0] == pytest.approx(20, rel=0.3)


@pytest.mark.parametrize(
    ("name", "tokens", "pflops_days"),
    [
        ("gpt3-175b", 300e9, 3646),
        ("palm-540b", 780e9, 29_269),
        ("llama-65b", 1.4e12, 6339),
        ("llama-2-70b", 2e12, 9722),
        ("llama-3.1-405b", 15.6e12, 438_750),
        ("mt-nlg-530b", 270e9, 9938),
        ("yuan-1.0", 180e9, 3071),
    ],
)
def test_pflops_days(name: str, tokens: float, pflops_days: float) -> None:
    judged = judge(parameters(find_model(name)).total, tokens)
    # The published figures use rounded parameter counts (70 B for 69 B).
    assert judged.flop / PFLOPS_DAY == pytest.approx(pflops_days, rel=0.02)


def test_under_and_over_trained() -> None:
    yuan = judge(245.7e9, 180e9)
    assert yuan.tokens_per_parameter == pytest.approx(0.73, abs=0.01)
    assert yuan.missing_tokens == pytest.approx(20 * 245.7e9 - 180e9)
    assert yuan.excess_loss > 0.02
    llama = judge(8.03e9, 15e12)
    assert llama.missing_tokens == 0
    assert judge(*optimal(1e24, "besiroglu")).excess_loss == pytest.approx(0, abs=1e-9)


def test_serving_makes_models_smaller_at_the_same_loss() -> None:
    plain, longer = with_inference(1e23, 1e13)
    law = LAWS["besiroglu"]
    assert longer.parameters < plain.parameters
    assert longer.tokens > plain.tokens
    assert longer.total < plain.total
    assert law.loss(longer.parameters, longer.tokens) == pytest.approx(law.loss(plain.parameters, plain.tokens))
    nothing_served = with_inference(1e23, 1.0)[1]
    assert nothing_served.parameters == pytest.approx(plain.parameters, rel=0.02)
    with pytest.raises(InputError, match="loss"):
        with_inference(1e23, 1e12, "rule")
    with pytest.raises(InputError, match="besiroglu"):
        optimal(1e23, "besirolu")
