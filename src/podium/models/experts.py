"""A mixture of experts in place of one feed-forward: each token visits the few that a router finds likeliest for it.

Knows states, no tokens and no places in a text. The experts are ordinary feed-forwards with matrices of their own, so
that optimisers which take matrices (Muon), packing and quantisation see nothing new.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.families.family import Mixture


class MixtureOfExperts(nn.Module):
    """x [..., D] -> [..., D]: the sum over the `active` likeliest experts of probability · expert(x).

    The router's softmax is taken over all experts in fp32 (Switch Transformers, arXiv:2101.03961, section 2.1). An
    expert that no token of a call visits has gradients of 0, as if all experts were one tensor.
    """

    def __init__(self, hidden: int, mixture: Mixture, expert: type[nn.Module]) -> None:
        """`expert` is made with the hidden size and the inner width of one expert."""
        super().__init__()
        self.mixture = mixture
        self.router = nn.Linear(hidden, mixture.experts, bias=False)
        self.experts = nn.ModuleList(expert(hidden, mixture.intermediate_size) for _ in range(mixture.experts))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.route(flat)
        places = chosen.shape[1]
        # All visits, sorted by expert: every expert is run once, on the tokens that visit it.
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=self.mixture.experts).tolist()
        visitors = order // places
        outputs = [
            expert(flat.index_select(0, rows))
            for expert, rows in zip(self.experts, visitors.split(counts), strict=True)
            if len(rows) or torch.is_grad_enabled()
        ]
        visited = torch.cat(outputs) * weights.flatten().index_select(0, order)[:, None].to(x.dtype)
        return torch.zeros_like(flat).index_add(0, visitors, visited).view(x.shape)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (fp32) and numbers of the experts that each row of x [N, D] visits, [N, active] each."""
        probabilities = F.softmax(self.router(x), dim=-1, dtype=torch.float32)
        weights, chosen = probabilities.topk(self.mixture.active, dim=-1)
        if self.mixture.normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights, chosen
