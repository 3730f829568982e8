"""Sound files of one channel as arrays: WAV (16 bits) by the standard library, FLAC by soundfile."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from podium.errors import InputError


def duration(path: Path) -> tuple[int, int]:
    """Samples and samples per second, from the head of the file.

    Raises:
        InputError: missing, of another kind, or soundfile is not installed.
    """
    try:
        if path.suffix == ".wav":
            with wave.open(str(path), "rb") as file:
                return file.getnframes(), file.getframerate()
        info = _soundfile().info(str(path))
        return info.frames, info.samplerate
    except (OSError, EOFError, wave.Error, RuntimeError) as error:
        raise _unreadable(path, error) from None


def read_sound(path: Path, rate: int) -> np.ndarray:
    """Samples in ±1 (float32).

    Raises:
        InputError: missing, cut off, of another kind or rate or number of channels, or soundfile is not installed.
    """
    try:
        if path.suffix == ".wav":
            with wave.open(str(path), "rb") as file:
                frames, found, channels = file.getnframes(), file.getframerate(), file.getnchannels()
                if file.getsampwidth() != 2:
                    raise wave.Error(f"{8 * file.getsampwidth()} bits a sample instead of 16")
                samples = np.frombuffer(file.readframes(frames), "<i2").astype(np.float32) / 32768
            if len(samples) != frames * channels:
                raise EOFError(f"{len(samples)} of {frames * channels} samples")
        else:
            samples, found = _soundfile().read(str(path), dtype="float32")
            channels = samples.ndim
    except (OSError, EOFError, ValueError, wave.Error, RuntimeError) as error:
        raise _unreadable(path, error) from None
    if found != rate or channels != 1:
        raise InputError(f"{path}: {channels} channels at {found} Hz", f"it must be one channel at {rate} Hz")
    return samples


def _soundfile() -> Any:
    try:
        import soundfile  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("reading FLAC files needs soundfile", "pip install soundfile, or make them WAV") from None
    return soundfile


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({error or type(error).__name__})", "restore the file")
