"""Links between devices and what a collective over them takes.

Two levels: a domain of fast links (NVLink, ICI, HCCS) and a network with one port per device. Ring algorithms: an
all-gather or reduce-scatter of S bytes over n ranks moves S (n - 1) / n through each rank's link.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from podium.plan.hardware import Device
from podium.plan.layouts import Array

HOP = 4e-6  # seconds a ring step takes however little it carries (NCCL over NVLink and InfiniBand: 2-6 us)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Devices of one kind. Bandwidths are those of the hardware table times what collectives reach of them."""

    device: Device
    count: int
    link_share: float = 0.75  # of the fast links' bandwidth, reached
    network_share: float = 0.8
    latency: float = HOP

    def gather(self, size: Array, ranks: Array, span: Array) -> Array:
        """Seconds of an all-gather or reduce-scatter of `size` bytes (the whole) over `ranks` ranks.

        `span` is how many devices lie between the group's neighbours, the group's own included: ranks of a
        tensor-parallel group are neighbours (1); data-parallel ones lie tensor x context x pipeline devices apart. What
        of the group lies in one domain uses fast links first, and the domain's ports together to leave it.
        """
        domain = self.device.domain
        inside = np.clip(np.floor(domain / span), 1, ranks)  # of the group, in one domain
        outside = ranks / inside  # domains it reaches into
        links = self.device.link * self.link_share
        network = self.device.network * self.network_share
        fast = np.where(inside > 1, size * (inside - 1) / inside / links, 0.0)
        slow = np.where(outside > 1, size * (outside - 1) / outside / (network * inside), 0.0)
        # The two levels are pipelined: the slower one is what is felt.
        hops = np.maximum(0.0, inside - 1) + np.maximum(0.0, outside - 1)
        return np.maximum(fast, slow) + self.latency * np.minimum(hops, 64)

    def exchange(self, size: Array, ranks: Array, span: Array) -> Array:
        """Seconds of an all-to-all in which each rank sends `size` bytes in all."""
        domain = self.device.domain
        inside = np.clip(np.floor(domain / span), 1, ranks)
        links, network = self.device.link * self.link_share, self.device.network * self.network_share
        near = size * (inside - 1) / ranks / links
        far = size * (ranks - inside) / ranks / network
        return np.where(ranks > 1, np.maximum(near, far) + self.latency * np.minimum(ranks - 1, 64), 0.0)

    def pass_on(self, size: Array, span: Array) -> Array:
        """Seconds of handing `size` bytes to a device `span` devices away."""
        near = span < self.device.domain
        speed = np.where(near, self.device.link * self.link_share, self.device.network * self.network_share)
        return size / speed + self.latency
