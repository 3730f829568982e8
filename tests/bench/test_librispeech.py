"""LibriSpeech and its vocabulary, on a few short sounds in the same layout."""

from __future__ import annotations

import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentencepiece_files import write_pieces

from podium.bench.filterbank import Filterbank, SpecAugment, at_speed, without_silence
from podium.bench.librispeech import LibriSpeech, heard, open_librispeech, read_part
from podium.bench.registry import find_task
from podium.bench.run import Entrant, prepared, run_once
from podium.bench.tasks.rnnt import RNNTTask
from podium.errors import InputError
from podium.models.rnnt import RNNT, RNNTConfig

RNNT_TASK = find_task("rnnt")
RATE = 16_000
PIECES = ["<unk>", "\u2581", "a", "b", "ab", "\u2581ab", "ba", "'"]
TINY = RNNTConfig(
    features=240, symbols=len(PIECES) + 1, encoder=8, prediction=8, prediction_layers=1, before=1, after=1, joint=8
)
LIBRI = LibriSpeech(workers=2, longest=1.5)


def tone(hertz: float, seconds: float) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_wav(path: Path, sound: np.ndarray, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    number = 0
    for part, chapters in (("train-clean-100", 2), ("train-clean-360", 1), ("train-other-500", 1), ("dev-clean", 1)):
        for chapter in range(chapters):
            place = tmp_path / part / "19" / str(chapter)
            lines = []
            for index in range(3):
                name = f"19-{chapter}-{index:04d}"
                write_wav(place / f"{name}.wav", tone(300 + 50 * number, 0.6 + 0.1 * index))
                lines.append(f"{name} {'AB BA' if number % 2 else 'BAB'}")
                number += 1
            (place / f"19-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")
    write_wav(tmp_path / "train-clean-100" / "19" / "0" / "19-0-0002.wav", tone(500, 2.0))  # too long
    write_pieces(tmp_path / "librispeech1023.model", PIECES)
    return tmp_path


def opened(folder: Path, seed: int = 1) -> tuple[RNNT, Any]:
    model = RNNT(TINY).initialise(0)
    return model, open_librispeech(folder, model, LIBRI, 4, 2, seed)


def test_batches_are_padded_utterances_with_their_pieces(folder: Path):
    _, data = opened(folder)
    assert (data.train_samples, data.eval_samples) == (11, 3)
    for _ in range(4):
        batch = data.batches.next()
        (frames, lengths), (symbols, numbers) = batch.inputs, batch.labels
        assert frames.shape == (4, int(lengths.max()), 240)
        for row, length in zip(frames, lengths.tolist(), strict=True):
            assert not row[length:].any()
            assert row[:length].any()
            assert 0.6 * 0.85 * 100 / 3 - 2 <= length <= 0.8 * 1.15 * 100 / 3 + 2
        for row, number in zip(symbols, numbers.tolist(), strict=True):
            spelt = "".join(PIECES[i] for i in row[:number].tolist()).replace("\u2581", " ").strip()
            assert spelt in ("ab ba", "bab")
    # The same seed gives the same batches, whatever the threads do.
    again = opened(folder)[1].batches.next()
    first = opened(folder)[1].batches.next()
    assert torch.equal(again.inputs[0], first.inputs[0])
    assert not torch.equal(again.inputs[0], opened(folder, seed=2)[1].batches.next().inputs[0])


def test_words_are_counted_against_the_transcripts(folder: Path, monkeypatch: pytest.MonkeyPatch):
    model, data = opened(folder)
    # The network is made to say "bab" always; dev-clean has bab, ab ba, bab.
    monkeypatch.setattr(model, "transcribe", lambda frames, lengths, most: [[3, 4]] * len(frames))
    assert data.evaluate(model)["wer"] == pytest.approx(2 / 4)


def test_the_mean_of_the_weights_is_judged_and_training_goes_on(folder: Path):
    model, data = opened(folder)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(2):
        data.batches.next()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    seen = []
    data.batches.judged(lambda judged: seen.append([p.clone() for p in judged.parameters()]) or {})
    for own, first, judged in zip(model.parameters(), before, seen[0], strict=True):
        assert torch.allclose(judged, first + 0.001, atol=1e-6)
        assert torch.allclose(own, first + 1.0)
    data.batches.judged(lambda judged: seen.append([p.clone() for p in judged.parameters()]) or {})
    assert torch.equal(seen[1][0], seen[0][0])  # a step counts once


def test_lstms_begin_as_in_the_reference():
    """Gates in torch's order: input, forget, cell, output."""
    model = RNNT(replace(TINY, encoder=64, scale=0.5)).initialise(3)
    for name, parameter in model.before.named_parameters():
        values = parameter.detach()
        apart = torch.cat([values[:64], values[128:]])
        assert float(apart.abs().max()) <= 0.5 / 8
        assert float(apart.std()) == pytest.approx(0.5 / 8 / 3**0.5, rel=0.15)
        if name.startswith("bias"):
            assert (values[64:128] == (0.5 if "ih" in name else 0.0)).all()
    assert float(model.embedding.weight.detach().std()) > 0.7


def test_flac_and_wav_sound_alike(folder: Path):
    soundfile = pytest.importorskip("soundfile")
    utterance = read_part(folder / "dev-clean", ThreadPoolExecutor(1))[0]
    flac = utterance.path.with_suffix(".flac")
    soundfile.write(str(flac), soundfile.read(str(utterance.path))[0], RATE)
    same = replace(utterance, path=flac)
    assert torch.equal(heard(LIBRI, same, 1, altered=False), heard(LIBRI, utterance, 1, altered=False))
    utterance.path.unlink()
    again = read_part(folder / "dev-clean", ThreadPoolExecutor(1))[0]
    assert (again.path, again.text, again.seconds) == (flac, utterance.text, pytest.approx(utterance.seconds))
    flac.write_bytes(flac.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        heard(LIBRI, again, 1, altered=False)


def test_mel_channels_are_those_of_slaney():
    audio = pytest.importorskip("transformers.audio_utils")
    theirs = audio.mel_filter_bank(257, 80, 0.0, 8000.0, RATE, norm=None, mel_scale="slaney")
    ours = LIBRI.filterbank.triangles(512).numpy()
    assert np.allclose(ours, theirs.T, atol=1e-4)
    htk = audio.mel_filter_bank(129, 40, 0.0, 4000.0, 8000, norm=None, mel_scale="htk")
    assert np.allclose(Filterbank(mels=40, splice=1, rate=8000).triangles(256).numpy(), htk.T, atol=1e-4)


def test_features_are_normalised_and_spliced():
    sound = torch.from_numpy(tone(400, 1.0) + 0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32))
    energy = LIBRI.filterbank.energies(sound)
    assert energy.shape == (80, 101)
    assert torch.allclose(energy.mean(1), torch.zeros(80), atol=1e-4)
    assert torch.allclose(energy.std(1), torch.ones(80), atol=0.02)
    spliced = LIBRI.filterbank.spliced(energy)
    assert spliced.shape == (33, 240)
    assert torch.equal(spliced[4].reshape(3, 80).T, energy[:, 12:15])
    silent = LIBRI.filterbank.energies(torch.zeros(RATE))
    assert torch.isfinite(silent).all()


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_speed_changes_length_and_pitch_together(factor: float):
    sound = at_speed(tone(1000, 0.5), factor)
    assert len(sound) == round(8000 * factor)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert spectrum.argmax() * RATE / len(sound) == pytest.approx(1000 / factor, abs=3)
    assert np.abs(sound).max() == pytest.approx(0.3, rel=0.1)


def test_silence_is_cut_off_at_both_ends_only():
    pause = np.zeros(RATE // 2, dtype=np.float32)
    sound = np.concatenate([pause, tone(400, 0.5), pause, tone(400, 0.5), pause + 1e-5])
    kept = without_silence(sound)
    assert abs(len(kept) - 1.5 * RATE) <= 2 * 2048
    assert np.array_equal(without_silence(np.zeros(5000, np.float32)), np.zeros(5000, np.float32))


def test_masks_have_the_sizes_of_the_rules():
    energy, draw = torch.ones(80, 500), np.random.default_rng(0)
    bands, gaps = SpecAugment(gaps=0), SpecAugment(bands=0)
    lost = [80 - int(bands(energy, draw)[:, 0].sum()) for _ in range(200)]
    assert max(lost) <= 40
    assert 10 < np.mean(lost) < 22  # two of 0 to 20, less what overlaps
    missing = [500 - int(gaps(energy, draw)[0].sum()) for _ in range(200)]
    assert max(missing) <= 150
    assert 50 < np.mean(missing) < 80  # ten of 0 to 15, less what overlaps
    assert energy.all()  # the original is left alone


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "train-other-500/19/0/19-0-0001.wav").unlink(), r"19-0-0001\.flac: missing"),
        (lambda f: (f / "dev-clean/19/0/19-0.trans.txt").unlink(), r"dev-clean: no <speaker>"),
        (lambda f: (f / "dev-clean/19/0/19-0.trans.txt").write_text("19-0-0000\n"), r"trans\.txt:1: no transcript"),
        (lambda f: (f / "dev-clean/19/0/19-0-0001.wav").write_bytes(b"RIFF"), "cannot be read"),
        (lambda f: (f / "train-clean-360/19/0/19-0.trans.txt").write_text("19-0-0000 ABC\n"), "no pieces for c"),
        (lambda f: (f / "librispeech1023.model").unlink(), "model: missing"),
        (lambda f: (f / "librispeech1023.model").write_bytes(b"no model at all"), "no SentencePiece model"),
        (lambda f: write_pieces(f / "librispeech1023.model", PIECES[:5]), "5 pieces, the model has 8"),
    ],
)
def test_other_files_are_refused(folder: Path, damage: Any, said: str):
    damage(folder)
    with pytest.raises(InputError, match=said):
        opened(folder)


@pytest.mark.parametrize("how", ["cut off", "other rate", "two channels"])
def test_sounds_that_are_no_such_sounds_are_refused(folder: Path, how: str):
    utterance = read_part(folder / "dev-clean", ThreadPoolExecutor(1))[0]
    if how == "cut off":
        utterance.path.write_bytes(utterance.path.read_bytes()[:-1000])
    else:
        write_wav(
            utterance.path, tone(400, 0.5), 8000 if how == "other rate" else RATE, 2 if how == "two channels" else 1
        )
    with pytest.raises(InputError, match=r"8000 Hz|2 channels|cannot be read"):
        heard(LIBRI, utterance, 1, altered=False)


class Tiny(RNNTTask):
    presets = {  # noqa: RUF012
        "full": replace(
            RNNT_TASK.presets["full"],
            network=TINY,
            data=LIBRI,
            batch=4,
            samples=(11, 3),
            train=RNNT_TASK.presets["full"].train.model_copy(
                update={"steps": 2, "accumulation": 2, "evaluate_every": 1, "precision": "float32"}
            ),
        )
    }


def test_a_run_from_the_files_to_the_log(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("log") / "result_0.txt"
    task = Tiny()
    data = prepared(task, "full", folder)
    entrant = Entrant(division="closed", org="o", platform="p")
    outcome = run_once(task, "full", log, seed=1, data=data, entrant=entrant, progress=False)
    assert outcome.steps == 2, outcome.why
    assert outcome.quality["wer"] > 0
