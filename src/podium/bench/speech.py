"""A small formant synthesiser: words of a made-up lexicon, spoken by voices that all differ. Knows sound, no networks.

Every letter is one sound. Voiced sounds are harmonics of the voice's pitch, weighted by resonances (formants) that
glide from sound to sound; hissing sounds are noise in a band; stops are silence and a burst. Voices differ in pitch,
length of the vocal tract, speed and loudness; there is noise behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 8000  # samples per second
# Formants of the voiced sounds in Hz, of a typical man (vowels: Peterson and Barney 1952; the others by ear).
VOICED: dict[str, tuple[float, float, float, float]] = {  # three formants and a level
    "a": (730, 1090, 2440, 1.0),
    "e": (530, 1840, 2480, 1.0),
    "i": (270, 2290, 3010, 1.0),
    "o": (570, 840, 2410, 1.0),
    "u": (300, 870, 2240, 1.0),
    "m": (250, 1000, 2200, 0.35),
    "n": (250, 1600, 2600, 0.35),
    "l": (360, 1300, 2900, 0.6),
    "r": (420, 1200, 1600, 0.6),
}
HISSING: dict[str, tuple[float, float, float]] = {
    "s": (3000, 4000, 0.3),
    "f": (1000, 3800, 0.12),
    "h": (600, 2000, 0.1),
}
BURSTS: dict[str, tuple[float, float]] = {"p": (200, 900), "t": (2500, 4000), "k": (1200, 2200)}
LETTERS = "".join([*VOICED, *HISSING, *BURSTS])
ALPHABET = " " + LETTERS  # symbol numbers; the blank of the transducer comes after them
LEXICON = (
    "mano", "tiki", "solu", "ferat", "kino", "palu", "humi", "neso", "rika", "lofe", "sati", "muro", "peli", "toka",
    "fanu", "hilo", "kesa", "nupi", "remo", "lasuf",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Speech:
    """How many utterances are spoken, of one to `most` words."""

    train: int
    evaluation: int
    most: int = 3
    seed: int = 5


def speak(text: str, draw: np.random.Generator) -> np.ndarray:
    """Samples (float32, about ±1) of `text` in a voice of its own."""
    pitch, tract, speed = draw.uniform(90, 220), draw.uniform(0.87, 1.13), draw.uniform(0.85, 1.2)
    pieces = [_silence(draw.uniform(0.03, 0.08))]
    for letter in text:
        seconds = draw.uniform(0.06, 0.1) / speed
        if letter == " ":
            pieces.append(_silence(seconds * 0.8))
        elif letter in VOICED:
            pieces.append(_voiced(letter, seconds * (1.3 if letter in "aeiou" else 1.0), pitch, tract, draw))
        elif letter in HISSING:
            low, high, level = HISSING[letter]
            pieces.append(level * _band(seconds, low * tract, min(high * tract, RATE / 2), draw))
        else:
            burst = 0.5 * _band(0.02, *BURSTS[letter], draw)
            pieces += [_silence(seconds * 0.6), burst]
    pieces.append(_silence(draw.uniform(0.05, 0.1)))
    sound = np.concatenate(pieces)
    sound = sound + draw.normal(scale=0.01, size=len(sound))
    return (draw.uniform(0.5, 1.0) * sound).astype(np.float32)


def make_speech(speech: Speech) -> tuple[list[np.ndarray], list[str]]:
    """Sounds and texts, those for training first."""
    draw = np.random.default_rng(speech.seed)
    texts = [
        " ".join(LEXICON[number] for number in draw.integers(len(LEXICON), size=draw.integers(1, speech.most + 1)))
        for _ in range(speech.train + speech.evaluation)
    ]
    return [speak(text, draw) for text in texts], texts


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE))


def _voiced(letter: str, seconds: float, pitch: float, tract: float, draw: np.random.Generator) -> np.ndarray:
    *formants, level = VOICED[letter]
    samples = int(seconds * RATE)
    pitch = pitch * draw.uniform(0.93, 1.07)
    harmonics = np.arange(1, int(RATE / 2 / pitch)) * pitch
    # Each formant a resonance of about 90 Hz; the source falls by 12 dB per octave.
    gain = sum(1 / (1 + ((harmonics - formant * tract) / 90) ** 2) for formant in formants)
    phases = 2 * np.pi * harmonics[:, None] * np.arange(samples) / RATE + draw.uniform(
        0, 2 * np.pi, (len(harmonics), 1)
    )
    sound = ((gain * (harmonics / pitch) ** -0.5)[:, None] * np.sin(phases)).sum(0)
    return level * sound * _fade(samples)


def _band(seconds: float, low: float, high: float, draw: np.random.Generator) -> np.ndarray:
    samples = max(16, int(seconds * RATE))
    spectrum = np.fft.rfft(draw.normal(size=samples))
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, samples) * _fade(samples)


def _fade(samples: int) -> np.ndarray:
    edge = min(samples // 2, int(0.008 * RATE))
    window = np.ones(samples)
    if edge:
        window[:edge] = np.linspace(0, 1, edge)
        window[-edge:] = np.linspace(1, 0, edge)
    return window
