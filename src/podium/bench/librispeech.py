"""LibriSpeech as it is unpacked: train-clean-100, train-clean-360, train-other-500 and dev-clean, each
<speaker>/<chapter>/<id>.flac (or .wav) beside <speaker>-<chapter>.trans.txt; and librispeech1023.model, the vocabulary
that the reference's create_sentencepieces.sh makes of the transcripts.

Utterances to train on are spoken faster or slower by up to 15 %, and masked (SpecAugment); those longer than 16.7 s
are left out.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from podium.bench.averaged import Averaged
from podium.bench.filterbank import Filterbank, SpecAugment, at_speed, without_silence
from podium.bench.formats.sentencepiece import Pieces, read_pieces
from podium.bench.formats.sound import duration, read_sound
from podium.bench.quality.words import word_error_rate
from podium.bench.shuffled import Shuffled
from podium.bench.task import Data, Samples
from podium.errors import InputError
from podium.models.rnnt import RNNT

RATE = 16_000
TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
EVALUATION = "dev-clean"
VOCABULARY = "librispeech1023.model"


@dataclass(frozen=True, slots=True)
class LibriSpeech:
    """`longest` in seconds; `speeds` are the bounds of the factor of the sampling rate; `symbols` at most per frame;
    `averaging`: factor of the running mean of weights that is judged."""

    filterbank: Filterbank = field(
        default_factory=lambda: Filterbank(
            mels=80, splice=3, rate=RATE, scale="slaney", preemphasis=0.97, dither=1e-5, floor=1e-20
        )
    )
    augment: SpecAugment = field(default_factory=SpecAugment)
    longest: float = 16.7
    speeds: tuple[float, float] = (0.85, 1.15)
    symbols: int = 300
    averaging: float = 0.999
    workers: int = 8


@dataclass(frozen=True, slots=True)
class Utterance:
    """`seconds` from the head of the file; the text is in small letters."""

    path: Path
    text: str
    seconds: float


def open_librispeech(
    folder: Path, model: nn.Module, libri: LibriSpeech, batch: int, accumulation: int, seed: int
) -> Data:
    """The dataset in `folder`.

    Raises:
        InputError: a part, a sound or the vocabulary is missing, cut off or another one.
    """
    assert isinstance(model, RNNT)
    pieces = read_pieces(folder / VOCABULARY)
    if len(pieces) != model.config.blank:
        raise InputError(
            f"{folder / VOCABULARY}: {len(pieces)} pieces, the model has {model.config.blank} and a blank",
            "make it with the reference's create_sentencepieces.sh",
        )
    pool = ThreadPoolExecutor(libri.workers)
    train = [
        utterance
        for part in TRAIN
        for utterance in read_part(folder / part, pool)
        if utterance.seconds <= libri.longest
    ]
    held_out = read_part(folder / EVALUATION, pool)
    if not train:
        raise InputError(f"{folder}: no utterance of at most {libri.longest} s to train on", "unpack LibriSpeech again")
    symbols = [spelt(pieces, utterance) for utterance in train]

    def make(chosen: Tensor, generator: torch.Generator) -> Samples:
        seeds = torch.randint(2**31, (len(chosen),), generator=generator).tolist()
        jobs = [(train[index], one) for index, one in zip(chosen.tolist(), seeds, strict=True)]
        features = list(pool.map(lambda job: heard(libri, *job, altered=True), jobs))
        return together(features, [symbols[index] for index in chosen.tolist()])

    source = Averaged(Shuffled(len(train), batch, seed, make), model, libri.averaging, accumulation)

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, RNNT)
        device = model.output.weight.device
        found: list[str] = []
        for start in range(0, len(held_out), batch):
            part = held_out[start : start + batch]
            features = list(pool.map(lambda utterance: heard(libri, utterance, 0, altered=False), part))
            frames, lengths = together(features, [[0]] * len(features)).inputs
            found += map(pieces.decode, model.transcribe(frames.to(device), lengths.to(device), libri.symbols))
        return {"wer": word_error_rate(found, [utterance.text for utterance in held_out])}

    return Data(source, lambda _: source.judged(judge), len(train), len(held_out))


def read_part(folder: Path, pool: ThreadPoolExecutor) -> list[Utterance]:
    """The utterances of a part, in the order of their names.

    Raises:
        InputError: no transcripts, a line that is none, or a sound that is missing.
    """
    listings = sorted(folder.glob("*/*/*.trans.txt"))
    if not listings:
        raise InputError(f"{folder}: no <speaker>/<chapter>/*.trans.txt in it", "unpack LibriSpeech there")
    found = []
    for listing in listings:
        for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
            name, _, text = line.partition(" ")
            if not text.strip():
                raise InputError(f"{listing}:{number}: no transcript", "unpack LibriSpeech again")
            flac, wav = listing.parent / f"{name}.flac", listing.parent / f"{name}.wav"
            path = wav if wav.is_file() else flac
            if not path.is_file():
                raise InputError(f"{flac}: missing, {listing.name} has it", "unpack LibriSpeech again")
            found.append((path, text.strip().lower()))
    lengths = pool.map(lambda entry: duration(entry[0]), found)
    return [Utterance(path, text, samples / rate) for (path, text), (samples, rate) in zip(found, lengths, strict=True)]


def spelt(pieces: Pieces, utterance: Utterance) -> list[int]:
    """Raises InputError: a letter that the vocabulary lacks."""
    try:
        return pieces.encode(utterance.text)
    except ValueError as error:
        raise InputError(
            f"{VOCABULARY}: {error}, in the transcript of {utterance.path.stem}",
            "make it of these transcripts, in small letters, with the reference's create_sentencepieces.sh",
        ) from None


def heard(libri: LibriSpeech, utterance: Utterance, seed: int, *, altered: bool) -> Tensor:
    """Features [frames, mels * splice]; `altered` in speed and by masks, as `seed` has it."""
    draw = np.random.default_rng(seed)
    sound = read_sound(utterance.path, libri.filterbank.rate)
    if altered:
        sound = at_speed(sound, draw.uniform(*libri.speeds))
    sound = torch.from_numpy(without_silence(sound))
    energy = libri.filterbank.energies(sound, torch.Generator().manual_seed(seed))
    return libri.filterbank.spliced(libri.augment(energy, draw) if altered else energy)


def together(features: list[Tensor], symbols: list[list[int]]) -> Samples:
    """Inputs: frames, padded, and their numbers; labels: symbols, padded, and theirs."""
    frames = nn.utils.rnn.pad_sequence(features, batch_first=True)
    lengths = torch.tensor([len(feature) for feature in features])
    rows = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in symbols], batch_first=True)
    numbers = torch.tensor([len(row) for row in symbols])
    return Samples((frames, lengths), (rows, numbers), "utterances")
