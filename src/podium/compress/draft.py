"""The draft head of ReDrafter (Zhang et al., arXiv:2403.09919): a recurrent guess of what a model says next.

From the target's last hidden state h_t, which has already given token t+1, the head guesses tokens t+2, t+3, …; its
state s_1 = SiLU(W e(x_{t+1})), s_i = SiLU(U s_{i-1} + W e(x_{t+i})) starts anew at every step, e are the target's own
embeddings, and [h_t, s_i] goes through a projection, residual SiLU blocks and a vocabulary of its own. That vocabulary
is reduced to the ids that are frequent in the data: a full one would cost a small target's draft as much as the target.
The guess is a chain (one beam): what verification of a tree gains at batch 1 on a GPU it loses on a CPU.

Knows the target's hidden states and embeddings, not how they come about. Training is podium.train's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.errors import InputError, TrainingError
from podium.models.folder import Weights, atomic_folder, read_config, write_weights
from podium.train.objective import Loss

if TYPE_CHECKING:
    from podium.models import Transformer
    from podium.train.packing import PackedBatch

MODEL_TYPE = "podium_redrafter"


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """Shapes of a draft head. `vocabulary` are the target's token ids that can be guessed, in the head's order;
    `target_vocab_size` and `hidden_size` are those of the target."""

    hidden_size: int
    target_vocab_size: int
    vocabulary: tuple[int, ...]
    layers: int = 2
    depth: int = 3  # tokens guessed in a row


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
        self.join_hidden = nn.Linear(size, size)
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
            self.join_hidden.weight.fill_diagonal_(1.0)
            self.head.weight.copy_(unembedding.weight[self.ids])

    def advance(self, state: Tensor | None, tokens: Tensor) -> Tensor:
        """The next state [N, D] from the one before (None: the first) and tokens [N]."""
        return F.silu(self.input(self.embeddings[tokens]) + (0 if state is None else self.state(state)))

    def features(self, joined: Tensor, state: Tensor) -> Tensor:
        """What the head's vocabulary is applied to [N, D], from join_hidden(hidden) and the state."""
        x = joined + self.join_state(state)
        for block in self.blocks:
            x = x + F.silu(block(x))
        return x

    def forward(self, hidden: Tensor, tokens: Tensor) -> list[Tensor]:
        """Logits [N, vocabulary] at each depth, for hidden [N, D] and the true tokens [N, depth] before each guess."""
        joined, state = self.join_hidden(hidden), None
        logits = []
        for depth in range(tokens.shape[1]):
            state = self.advance(state, tokens[:, depth])
            logits.append(self.head(self.features(joined, state)))
        return logits

    @torch.inference_mode()
    def draft(self, hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest chain: token ids [N, depth] and the probability of each [N, depth], for hidden [N, D] and the
        last tokens [N]."""
        joined, state = self.join_hidden(hidden), None
        chain, sure = [], []
        for _ in range(self.config.depth):
            state = self.advance(state, tokens)
            best, place = self.head(self.features(joined, state)).softmax(-1).max(-1)
            tokens = self.ids[place]
            chain.append(tokens)
            sure.append(best)
        return torch.stack(chain, 1), torch.stack(sure, 1)


class Redraft:
    """The objective: cross-entropy of the tokens after next, at each depth, summed (the target stays as it is).

    A place counts where the model wrote all tokens from the next one up to the one guessed, and that one is in the
    head's vocabulary; places never span two documents. `metrics` are the shares of guesses that are right, given that
    all before them were (`top1_1` is the first guess): what the paper watches.
    """

    def __init__(self, target: Transformer) -> None:
        self.target = target.eval().requires_grad_(False)

    def __call__(self, model: DraftHead, batch: PackedBatch) -> Loss:
        """Raises TrainingError when a token lies outside the target's vocabulary, or nothing can be guessed."""
        config = model.config
        if batch.largest_id >= config.target_vocab_size:
            raise TrainingError(
                f"the training data has token id {batch.largest_id}, the target's vocabulary ends at "
                f"{config.target_vocab_size - 1}",
                "draft for the model whose tokenizer made the data",
            )
        with torch.no_grad():
            hidden = self.target.hidden(batch.tokens, positions=batch.positions, attend=batch.attend)
        tokens = batch.tokens.flatten()
        written = torch.zeros(tokens.numel() + config.depth + 1, dtype=torch.bool, device=tokens.device)
        written[batch.predicting + 1] = True
        # Padding behind the end, so that every place may look ahead; it was written by nobody.
        tokens = F.pad(tokens, (0, config.depth + 1))
        slots = torch.full((config.target_vocab_size,), -1, device=tokens.device)
        slots[model.ids] = torch.arange(len(model.ids), device=tokens.device)
        places = batch.predicting
        ahead = places[:, None] + torch.arange(1, config.depth + 2, device=tokens.device)  # [N, depth + 1]
        labels = slots[tokens[ahead[:, 1:]]]
        counted = (written[ahead].cumprod(-1)[:, 1:] * (labels >= 0).cumprod(-1)).bool()  # [N, depth]
        some = counted[:, 0]
        places, ahead, labels, counted = places[some], ahead[some], labels[some], counted[some]
        if not len(places):
            raise TrainingError(
                "no token of this batch can be guessed", "check the loss mask and the size of the draft vocabulary"
            )
        logits = model(hidden.flatten(0, 1)[places], tokens[ahead[:, :-1]])
        weight = float(counted.sum())
        total = torch.zeros((), device=tokens.device)
        metrics: dict[str, float] = {}
        right = torch.ones_like(some[some])
        for depth, (guess, label, here) in enumerate(zip(logits, labels.T, counted.T, strict=True), 1):
            total = total + F.cross_entropy(guess[here].float(), label[here], reduction="sum")
            here = here & right
            right = here & (guess.argmax(-1) == label)
            # The trainer divides by the weight of all depths; this share is of the places of its own depth.
            metrics[f"top1_{depth}"] = float(right.sum()) / max(1.0, float(here.sum())) * weight
        return Loss(total, weight, metrics)

    def flops(self, model: DraftHead, batch: PackedBatch) -> float:
        head = sum(parameter.numel() for parameter in model.parameters())
        forward = self.target.flops_per_token(batch.tokens.shape[1], backward=False)
        return batch.count * (forward + 6 * model.config.depth * head)


def frequent_ids(documents: Iterable[tuple[Sequence[int], Sequence[bool]]], most: int) -> tuple[int, ...]:
    """The ids the model writes most often, ascending; at most `most`.

    Raises:
        TrainingError: no token is marked as the model's.
    """
    counts: Counter[int] = Counter()
    for ids, mask in documents:
        counts.update(token for token, trained in zip(ids, mask, strict=True) if trained)
    if not counts:
        raise TrainingError("no token to draft in the data", "check the loss mask: it must mark the model's own tokens")
    # Ties by id: one data set gives one vocabulary.
    return tuple(sorted(sorted(counts, key=lambda token: (-counts[token], token))[:most]))


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
        config = DraftConfig(**{**values, "vocabulary": tuple(values["vocabulary"])})
        sizes = (config.hidden_size, config.target_vocab_size, config.layers, config.depth, *config.vocabulary)
        whole = all(type(size) is int for size in sizes) and bool(config.vocabulary) and config.depth > 0
        fits = whole and min(config.vocabulary) >= 0 and max(config.vocabulary) < config.target_vocab_size
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{folder}/config.json: not that of a draft head ({error})", "copy the folder again"
        ) from error
    if not fits:
        raise InputError(f"{folder}/config.json: sizes or vocabulary are no numbers that fit", "copy the folder again")
    return config
