"""Recurrent transducer (Graves 2012, arXiv:1211.3711) in the form of MLPerf's RNN-T: LSTMs over frames, two frames
stacked into one between them, an LSTM over the symbols so far, and a joint network. Knows frames and symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class RNNTConfig:
    """`symbols` counts the blank, which is the last of them."""

    features: int = 240
    symbols: int = 1024
    encoder: int = 1024
    before: int = 2
    after: int = 3
    stack: int = 2
    encoder_dropout: float = 0.1
    prediction: int = 512
    prediction_layers: int = 2
    prediction_dropout: float = 0.3
    joint: int = 512
    joint_dropout: float = 0.3
    forget_bias: float = 1.0
    scale: float = 1.0  # of the LSTMs' first weights

    @property
    def blank(self) -> int:
        return self.symbols - 1


State = tuple[Tensor, Tensor]


class RNNT(nn.Module):
    """Frames [B, T, F] and symbols [B, U] -> logits [B, T', U + 1, symbols], T' = ceil(T / stack)."""

    def __init__(self, config: RNNTConfig = RNNTConfig()) -> None:
        super().__init__()
        self.config = config
        self.before = _lstm(config.features, config.encoder, config.before, config.encoder_dropout)
        self.after = _lstm(config.encoder * config.stack, config.encoder, config.after, config.encoder_dropout)
        self.embedding = nn.Embedding(config.symbols - 1, config.prediction)
        self.predictor = _lstm(
            config.prediction, config.prediction, config.prediction_layers, config.prediction_dropout
        )
        self.from_encoder = nn.Linear(config.encoder, config.joint)
        self.from_predictor = nn.Linear(config.prediction, config.joint)
        self.output = nn.Linear(config.joint, config.symbols)

    def encode(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, T', encoder] of frames [B, T, F], and how many of them are real [B]."""
        stack = self.config.stack
        x, _ = self.before(frames)
        # What lies behind the end of a sequence is noise of the padding: a real state must not be stacked with it.
        x = x * (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        x = F.pad(x, (0, 0, 0, -x.shape[1] % stack))
        x = x.reshape(x.shape[0], x.shape[1] // stack, -1)
        x, _ = self.after(F.dropout(x, self.config.encoder_dropout, self.training))
        return x, (lengths + stack - 1) // stack

    def predict(self, symbols: Tensor | None, state: State | None = None, batch: int = 1) -> tuple[Tensor, State]:
        """States [B, U + 1, prediction] before the first and after each of symbols [B, U]; with a `state` to go on
        from, [B, U, prediction] after each of them."""
        weight = self.embedding.weight
        start = weight.new_zeros(batch if symbols is None else symbols.shape[0], 1, weight.shape[1])
        if symbols is None:
            inputs = start
        elif state is None:
            inputs = torch.cat([start, self.embedding(symbols)], dim=1)
        else:
            inputs = self.embedding(symbols)
        return self.predictor(inputs, state)

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits of states that broadcast against each other, projected apart and added."""
        hidden = F.relu(self.from_encoder(encoded) + self.from_predictor(predicted))
        return self.output(F.dropout(hidden, self.config.joint_dropout, self.training))

    def forward(self, frames: Tensor, lengths: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        encoded, lengths = self.encode(frames, lengths)
        predicted, _ = self.predict(symbols)
        return self.join(encoded[:, :, None], predicted[:, None]), lengths

    @torch.no_grad()
    def transcribe(self, frames: Tensor, lengths: Tensor, most_per_step: int = 30) -> list[list[int]]:
        """The symbols found greedily: at each state the likeliest one until it is the blank, at most so many."""
        encoded, real = self.encode(frames, lengths)
        batch = encoded.shape[0]
        predicted, state = self.predict(None, batch=batch)
        found: list[list[int]] = [[] for _ in range(batch)]
        for step in range(encoded.shape[1]):
            going = step < real
            for _ in range(most_per_step):
                best = self.join(encoded[:, step], predicted[:, 0]).argmax(-1)
                going = going & (best != self.config.blank)
                if not going.any():
                    break
                for place in going.nonzero()[:, 0].tolist():
                    found[place].append(int(best[place]))
                following, later = self.predict(torch.where(going, best, 0)[:, None], state)
                state = (
                    torch.where(going[None, :, None], later[0], state[0]),
                    torch.where(going[None, :, None], later[1], state[1]),
                )
                predicted = torch.where(going[:, None, None], following, predicted)
        return found

    @torch.no_grad()
    def initialise(self, seed: int) -> RNNT:
        """Uniform in ± 1 / sqrt(width), embeddings normal; the forget gates' input biases are `forget_bias` and their
        recurrent ones 0, and then all of the LSTMs' is multiplied by `scale`, as in the reference. Returns self."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.LSTM):
                width = module.hidden_size
                for name, parameter in module.named_parameters():
                    _uniform(parameter, width**-0.5, generator)
                    if name.startswith("bias"):
                        forget = self.config.forget_bias if name.startswith("bias_ih") else 0.0
                        parameter[width : 2 * width] = forget
                    parameter.mul_(self.config.scale)
            elif isinstance(module, nn.Linear):
                for parameter in module.parameters():
                    _uniform(parameter, module.in_features**-0.5, generator)
            elif isinstance(module, nn.Embedding):
                module.weight.copy_(torch.empty(module.weight.shape).normal_(generator=generator))
        return self


def _lstm(inputs: int, width: int, layers: int, dropout: float) -> nn.LSTM:
    return nn.LSTM(inputs, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
