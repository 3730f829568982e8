"""Speech recognition: RNN-T, word error rate.

smoke and small are spoken by the synthesiser of podium.bench.speech, every utterance in another voice; full reads
LibriSpeech. Features are log-mel energies of 20 ms windows every 10 ms, normalised per utterance and channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.quality.words import word_error_rate
from podium.bench.shuffled import Shuffled
from podium.bench.speech import ALPHABET, RATE, Speech, make_speech
from podium.bench.task import Data, Preset, Samples, Size, at_most
from podium.models.rnnt import RNNT, RNNTConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig
from podium.train.transducer import transducer_loss


class Transduce:
    """-log p(transcript | frames), summed over utterances."""

    def __call__(self, model: RNNT, batch: Samples) -> Loss:
        (frames, lengths), (symbols, numbers) = batch.inputs, batch.labels
        logits, real = model(frames, lengths, symbols)
        loss = transducer_loss(logits, symbols, real, numbers, model.config.blank)
        return Loss(loss.sum(), batch.count)

    def flops(self, model: RNNT, batch: Samples) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Filterbank:
    """Log-mel features: `mels` channels, `splice` frames put together into one."""

    mels: int
    splice: int
    rate: int = RATE

    def __call__(self, sound: Tensor) -> Tensor:
        """Samples [N] -> [frames, mels * splice]."""
        window = int(0.02 * self.rate)
        size = 1 << (window - 1).bit_length()
        spectrum = torch.stft(
            sound, size, int(0.01 * self.rate), window, torch.hann_window(window), return_complex=True, center=True
        )
        energy = (self._triangles(size) @ spectrum.abs().square() + 1e-6).log()
        energy = (energy - energy.mean(1, keepdim=True)) / (energy.std(1, keepdim=True) + 1e-3)
        whole = energy.shape[1] // self.splice * self.splice
        return energy[:, :whole].T.reshape(-1, self.mels * self.splice)

    def _triangles(self, size: int) -> Tensor:
        """[mels, size / 2 + 1]: triangles of equal width on the mel scale 2595 log10(1 + f / 700)."""
        mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)  # noqa: E731
        edges = 700 * (10 ** (np.linspace(0, mel(self.rate / 2), self.mels + 2) / 2595) - 1)
        hertz = np.linspace(0, self.rate / 2, size // 2 + 1)
        left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
        return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None)).float()


class RNNTTask:
    key = "rnnt"
    area = "speech recognition"
    presets: Mapping[Size, Preset] = {
        "smoke": Preset(
            network=RNNTConfig(
                features=80,
                symbols=len(ALPHABET) + 1,
                encoder=128,
                before=1,
                after=1,
                prediction=64,
                prediction_layers=1,
                joint=96,
                encoder_dropout=0.0,
                prediction_dropout=0.0,
                joint_dropout=0.0,
            ),
            data={"speech": Speech(train=800, evaluation=100), "filterbank": Filterbank(mels=40, splice=2)},
            batch=32,
            train=TrainConfig(
                steps=1000,
                optimizer=OptimizerConfig(name="adamw", lr=4e-3, weight_decay=1e-3, betas=(0.9, 0.98)),
                schedule=ScheduleConfig(name="linear", warmup=50),
                clip=100.0,
                guard_sigmas=0,
                evaluate_every=50,
            ),
            target=at_most("wer", 0.10),
            dataset="synthesised speech, 20 words",
        ),
        "small": Preset(
            network=RNNTConfig(symbols=len(ALPHABET) + 1),
            data={"speech": Speech(train=8000, evaluation=500, most=5), "filterbank": Filterbank(mels=80, splice=3)},
            batch=64,
            train=TrainConfig(
                steps=125 * 40,
                optimizer=OptimizerConfig(name="adamw", lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.98)),
                schedule=ScheduleConfig(name="linear", warmup=500),
                clip=100.0,
                guard_sigmas=0,
                evaluate_every=125,
            ),
            target=at_most("wer", 0.05),
            dataset="synthesised speech, 20 words",
        ),
    }

    def prepare(self, preset: Preset, folder: Path) -> None:
        sounds, texts = make_speech(preset.data["speech"])
        ends = np.cumsum([len(sound) for sound in sounds])
        np.savez(folder / "speech.npz", samples=np.concatenate(sounds).astype(np.float16), ends=ends)
        (folder / "transcripts.txt").write_text("\n".join(texts) + "\n")

    def build(self, preset: Preset, seed: int) -> RNNT:
        return RNNT(preset.network).initialise(seed)

    def objective(self, preset: Preset) -> Transduce:
        return Transduce()

    def open(self, preset: Preset, folder: Path, model: nn.Module, seed: int) -> Data:
        speech: Speech = preset.data["speech"]
        filterbank: Filterbank = preset.data["filterbank"]
        with np.load(folder / "speech.npz") as stored:
            samples, ends = torch.from_numpy(stored["samples"]).float(), stored["ends"].tolist()
        texts = (folder / "transcripts.txt").read_text().splitlines()
        features = [filterbank(samples[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
        frames = nn.utils.rnn.pad_sequence(features, batch_first=True)
        lengths = torch.tensor([len(feature) for feature in features])
        numbers = torch.tensor([len(text) for text in texts])
        symbols = torch.zeros(len(texts), int(numbers.max()), dtype=torch.long)
        for row, text in zip(symbols, texts, strict=True):
            row[: len(text)] = torch.tensor([ALPHABET.index(letter) for letter in text])
        train = speech.train

        def make(chosen: Tensor, generator: torch.Generator) -> Samples:
            longest, most = int(lengths[chosen].max()), int(numbers[chosen].max())
            return Samples(
                (frames[chosen, :longest], lengths[chosen]), (symbols[chosen, :most], numbers[chosen]), "utterances"
            )

        def evaluate(model: nn.Module) -> dict[str, float]:
            assert isinstance(model, RNNT)
            device = model.output.weight.device
            heard = model.transcribe(frames[train:].to(device), lengths[train:].to(device))
            return {"wer": word_error_rate(["".join(ALPHABET[s] for s in row) for row in heard], texts[train:])}

        return Data(Shuffled(train, preset.batch, seed, make), evaluate, train, speech.evaluation)


TASK = RNNTTask()
