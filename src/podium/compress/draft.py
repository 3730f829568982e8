"""The draft head of ReDrafter (Zhang et al., arXiv:2403.09919): a recurrent guess of what a model says next.

From the target's last hidden state h_t, which has already given token t+1, the head guesses tokens t+2, t+3, …; its
state s_1 = SiLU(W e(x_{t+1})), s_i = SiLU(U s_{i-1} + W e(x_{t+i})) starts anew at every step, e are the target's own
embeddings, and [h_t, s_i] goes through a projection, residual SiLU blocks and a vocabulary of its own. That vocabulary
is reduced to the ids that are frequent in the data: a full one would cost a small target's draft as much as the target.
The guess is a chain (one beam): what verification of a tree gains at batch 1 on a GPU it loses on a CPU.

Beside h_t the head reads what layers further down gave there (EAGLE-3, arXiv:2503.01840, section 3.1): h_t is made to
tell the next token, and what the one after it depends on (which number of the problem comes next) is clearer below.

Knows the target's hidden states and embeddings, not how they come about; training is in draft_training.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.errors import InputError
from podium.models.folder import Weights, atomic_folder, write_weights
from podium.models.place import read_config

if TYPE_CHECKING:
    from podium.models import Transformer

MODEL_TYPE = "podium_redrafter"

EPSILON = 1e-6
"""Below the root where a tapped state is brought to size 1."""


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """Shapes of a draft head. `vocabulary` are the target's token ids that can be guessed, in the head's order;
    `target_vocab_size` and `hidden_size` are those of the target."""

    hidden_size: int
    target_vocab_size: int
    vocabulary: tuple[int, ...]
    layers: int = 2
    depth: int = 3  # tokens guessed in a row
    taps: tuple[int, ...] = ()  # layers of the target whose outputs are read beside its last state


def spread_taps(layers: int, number: int) -> tuple[int, ...]:
    """So many layers at equal distances below the last of `layers`; fewer where there are not as many."""
    return tuple(sorted({(i + 1) * layers // (number + 1) - 1 for i in range(number)} - {-1, layers - 1}))


class DraftHead(nn.Module):
    """The network. The target's embeddings are shared with it, and are no part of its state."""

    embeddings: Tensor
    ids: Tensor

    def __init__(self, config: DraftConfig, target: Transformer, seed: int = 0) -> None:
        """A new head, the same for the same seed: the state and the blocks add nothing yet, and the vocabulary is the
        target's own."""
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.input = nn.Linear(size, size)
        self.state = nn.Linear(size, size, bias=False)
        self.join_hidden = nn.Linear(size * (1 + len(config.taps)), size)
        self.join_state = nn.Linear(size, size, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(size, size) for _ in range(config.layers))
        self.head = nn.Linear(size, len(config.vocabulary), bias=False)
        self.register_buffer("embeddings", target.embedding.weight.detach(), persistent=False)
        self.register_buffer("ids", torch.tensor(config.vocabulary), persistent=False)
        unembedding = target.embedding if target.unembedding is None else target.unembedding
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for layer in (self.input, self.state):
                layer.weight.copy_(torch.empty(size, size).normal_(0.0, size**-0.5, generator=generator))
            self.join_hidden.weight[:, :size].fill_diagonal_(1.0)
            self.head.weight.copy_(unembedding.weight[self.ids])

    def advance(self, state: Tensor | None, tokens: Tensor) -> Tensor:
        """The next state [N, D] from the one before (None: the first) and tokens [N]."""
        return F.silu(self.input(self.embeddings[tokens]) + (0 if state is None else self.state(state)))

    def join(self, states: Tensor) -> Tensor:
        """What the features begin with [N, D], from the target's states [N, (1 + taps) * D]."""
        last, *tapped = states.split(self.config.hidden_size, -1)
        # Sizes differ by orders of magnitude from layer to layer; the last state has had its norm.
        scaled = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) for x in tapped)
        return self.join_hidden(torch.cat([last, *scaled], -1))

    def features(self, joined: Tensor, state: Tensor) -> Tensor:
        """What the head's vocabulary is applied to [N, D], from join(states) and the state of the head."""
        x = joined + self.join_state(state)
        for block in self.blocks:
            x = x + F.silu(block(x))
        return x

    def forward(self, states: Tensor, tokens: Tensor) -> list[Tensor]:
        """Logits [N, vocabulary] at each depth, for the target's states [N, (1 + taps) * D] and the true tokens
        [N, depth] before each guess."""
        joined, state = self.join(states), None
        logits = []
        for depth in range(tokens.shape[1]):
            state = self.advance(state, tokens[:, depth])
            logits.append(self.head(self.features(joined, state)))
        return logits

    @torch.inference_mode()
    def draft(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest chain: token ids [N, depth] and the probability of each [N, depth], for the target's states
        [N, (1 + taps) * D] and the last tokens [N]."""
        joined, state = self.join(states), None
        chain, sure = [], []
        for _ in range(self.config.depth):
            state = self.advance(state, tokens)
            best, place = self.head(self.features(joined, state)).softmax(-1).max(-1)
            tokens = self.ids[place]
            chain.append(tokens)
            sure.append(best)
        return torch.stack(chain, 1), torch.stack(sure, 1)


def save_draft(folder: Path | str, head: DraftHead) -> None:
    """Write config.json and model.safetensors, all at once.

    Raises:
        InputError: weights hold NaN or infinity.
        StorageError: disk full, no permission.
    """
    state = {name: value.detach().cpu() for name, value in head.state_dict().items()}
    for name, value in state.items():
        if not value.isfinite().all():
            raise InputError(f"{folder}: tensor {name} holds NaN or infinity", "training diverged: nothing is saved")
    with atomic_folder(folder) as partial:
        layout = {name: (value.dtype, tuple(value.shape)) for name, value in state.items()}
        write_weights(partial, layout, state.items(), 5_000_000_000)
        (partial / "config.json").write_text(json.dumps({"model_type": MODEL_TYPE, **asdict(head.config)}) + "\n")


def load_draft(folder: Path | str, target: Transformer) -> DraftHead:
    """The draft head of a folder, sharing the embeddings of `target`.

    Raises:
        InputError: no draft head in the folder, or one of another target; truncated or damaged files.
    """
    folder = Path(folder)
    config = _read_config(folder)
    for name, found, wanted in (
        ("hidden size", config.hidden_size, target.config.hidden_size),
        ("vocabulary size", config.target_vocab_size, target.config.vocab_size),
    ):
        if found != wanted:
            raise InputError(
                f"{folder}: drafts for a model of {name} {found}, this one has {wanted}",
                "train a draft head for this model: podium draft MODEL --data ROWS.jsonl",
            )
    if any(tap >= target.config.num_hidden_layers - 1 for tap in config.taps):
        raise InputError(
            f"{folder}: reads layer {max(config.taps)} of a model that has {target.config.num_hidden_layers}",
            "train a draft head for this model: podium draft MODEL --data ROWS.jsonl",
        )
    head = DraftHead(config, target)
    state = head.state_dict()
    weights = Weights(folder)
    weights.check({name: tuple(value.shape) for name, value in state.items()})
    head.load_state_dict({name: weights[name] for name in state})
    return head.to(target.embedding.weight.device).eval().requires_grad_(False)


def _read_config(folder: Path) -> DraftConfig:
    values: dict[str, Any] = read_config(folder)
    kind = values.pop("model_type", None)
    if kind != MODEL_TYPE:
        raise InputError(
            f"{folder}: config.json is of a {kind!r}, not of a draft head", "give the folder that podium draft wrote"
        )
    try:
        lists = {name: tuple(values[name]) for name in ("vocabulary", "taps")}
        config = DraftConfig(**{**values, **lists})
        sizes = (config.hidden_size, config.target_vocab_size, config.layers, config.depth)
        whole = all(type(size) is int for size in (*sizes, *config.vocabulary, *config.taps))
        whole = whole and bool(config.vocabulary) and config.depth > 0
        fits = whole and min(config.vocabulary) >= 0 and max(config.vocabulary) < config.target_vocab_size
        fits = fits and list(config.taps) == sorted({*config.taps}) and min(config.taps, default=0) >= 0
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{folder}/config.json: not that of a draft head ({error})", "copy the folder again"
        ) from error
    if not fits:
        raise InputError(f"{folder}/config.json: sizes or vocabulary are no numbers that fit", "copy the folder again")
    return config
