"""Speech recognition: RNN-T, word error rate.

smoke and small are spoken by the synthesiser of podium.bench.speech, every utterance in another voice; full reads
LibriSpeech.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.filterbank import Filterbank
from podium.bench.librispeech import LibriSpeech, open_librispeech
from podium.bench.quality.words import word_error_rate
from podium.bench.registry import benchmark_task
from podium.bench.shuffled import Shuffled
from podium.bench.speech import ALPHABET, RATE, Speech, make_speech
from podium.bench.task import Data, Preset, Samples, Size, Task, at_most
from podium.models.rnnt import RNNT, RNNTConfig
from podium.train.objective import Loss
from podium.train.optim import OptimizerConfig
from podium.train.schedule import ScheduleConfig
from podium.train.trainer import TrainConfig
from podium.train.transducer import transducer_loss

LIBRISPEECH = LibriSpeech()


class Transduce:
    """-log p(transcript | frames), summed over utterances."""

    def __call__(self, model: RNNT, batch: Samples) -> Loss:
        (frames, lengths), (symbols, numbers) = batch.inputs, batch.labels
        logits, real = model(frames, lengths, symbols)
        loss = transducer_loss(logits, symbols, real, numbers, model.config.blank)
        return Loss(loss.sum(), batch.count)

    def flops(self, model: RNNT, batch: Samples) -> float:
        return 0.0


@benchmark_task
class RNNTTask(Task):
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
            data={"speech": Speech(train=800, evaluation=100), "filterbank": Filterbank(mels=40, splice=2, rate=RATE)},
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
            data={
                "speech": Speech(train=8000, evaluation=500, most=5),
                "filterbank": Filterbank(mels=80, splice=3, rate=RATE),
            },
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
        # Batch 1024 of the reference convergence points of the round; 272 steps are a pass.
        "full": Preset(
            network=RNNTConfig(scale=0.5),
            data=LIBRISPEECH,
            batch=16,
            train=TrainConfig(
                steps=272 * 100,
                accumulation=64,
                optimizer=OptimizerConfig(name="lamb", lr=4e-3, weight_decay=1e-3, betas=(0.9, 0.999), eps=1e-9),
                schedule=ScheduleConfig(
                    name="exponential",
                    warmup=272 * 6,
                    decay_after=0.46,
                    gamma=0.935,
                    period=272,
                    final_ratio=1e-5 / 4e-3,
                ),
                clip=1.0,
                guard_sigmas=0,
                precision="bfloat16",
                evaluate_every=272,
            ),
            target=at_most("wer", 0.058),
            dataset="LibriSpeech",
            settings={
                "model_weights_initialization_scale": 0.5,
                "model_eval_ema_factor": LIBRISPEECH.averaging,
                "opt_lamb_epsilon": 1e-9,
                "opt_lamb_learning_rate_decay_poly_power": 0.935,
                "opt_lamb_learning_rate_hold_epochs": 40,
                "opt_lamb_learning_rate_min": 1e-5,
                "opt_learning_rate_warmup_epochs": 6,
                "opt_learning_rate_alt_decay_func": True,
                "opt_learning_rate_alt_warmup_func": True,
                "opt_weight_decay": 1e-3,
                "opt_lamb_beta_1": 0.9,
                "opt_lamb_beta_2": 0.999,
                "opt_gradient_clip_norm": 1,
                "data_train_max_duration": LIBRISPEECH.longest,
                "data_train_num_buckets": 1,
                # The misspelling is the official one.
                "data_speed_perturbaton_min": LIBRISPEECH.speeds[0],
                "data_speed_perturbaton_max": LIBRISPEECH.speeds[1],
                "data_spec_augment_freq_n": LIBRISPEECH.augment.bands,
                "data_spec_augment_freq_min": 0,
                "data_spec_augment_freq_max": LIBRISPEECH.augment.widest,
                "data_spec_augment_time_n": LIBRISPEECH.augment.gaps,
                "data_spec_augment_time_min": 0,
                "data_spec_augment_time_max": LIBRISPEECH.augment.longest,
                "eval_max_prediction_symbols": LIBRISPEECH.symbols,
            },
            official=True,
            samples=(278_528, 2703),
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
        if preset.official:
            return open_librispeech(folder, model, preset.data, preset.batch, preset.train.accumulation, seed)
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
