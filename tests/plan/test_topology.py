"""Collectives on two levels of links, against counting bytes by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from podium.plan.hardware import find_device
from podium.plan.topology import Cluster

DEVICE = find_device("A100")  # 300 GB/s to seven others, 25 GB/s of network each
IDEAL = Cluster(DEVICE, 64, link_share=1.0, network_share=1.0, latency=0.0)


def gather(size: float, ranks: int, span: int, cluster: Cluster = IDEAL) -> float:
    return float(cluster.gather(np.array([size]), np.array([float(ranks)]), np.array([float(span)]))[0])


def test_within_a_domain() -> None:
    assert gather(8e9, 8, 1) == pytest.approx(7e9 / 300e9)
    assert gather(8e9, 1, 1) == 0


def test_between_domains() -> None:
    # Neighbours of a data-parallel group under 8-way tensor parallelism have one port each.
    assert gather(8e9, 8, 8) == pytest.approx(7e9 / 25e9)
    # All 64 devices: 8 machines, each talking through its 8 ports.
    assert gather(8e9, 64, 1) == pytest.approx(7e9 / (8 * 25e9))


def test_shares_and_hops() -> None:
    half = replace(IDEAL, link_share=0.5)
    assert gather(8e9, 8, 1, half) == pytest.approx(2 * gather(8e9, 8, 1))
    slow = replace(IDEAL, latency=1e-3)
    assert gather(0, 8, 1, slow) == pytest.approx(7e-3)


def test_an_exchange_sends_to_everybody() -> None:
    def exchange(ranks: int, span: int) -> float:
        return float(IDEAL.exchange(np.array([1e9]), np.array([float(ranks)]), np.array([float(span)]))[0])

    assert exchange(1, 1) == 0
    assert exchange(8, 1) == pytest.approx(7 / 8 * 1e9 / 300e9)
    assert exchange(16, 1) == pytest.approx(8 / 16 * 1e9 / 25e9)


def test_handing_over() -> None:
    def pass_on(span: int) -> float:
        return float(IDEAL.pass_on(np.array([1e9]), np.array([float(span)]))[0])

    assert pass_on(1) == pytest.approx(1 / 300)
    assert pass_on(8) == pytest.approx(1 / 25)
