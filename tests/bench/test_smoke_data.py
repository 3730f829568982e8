"""The data that tasks make for themselves: real, as described, and the same every time."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from podium.bench.filterbank import Filterbank
from podium.bench.shapes import Shapes, fill, read_shapes, write_shapes
from podium.bench.speech import ALPHABET, LEXICON, RATE, Speech, make_speech, speak
from podium.bench.tasks.bert import IGNORED, LibraryText, _Parts
from podium.bench.tasks.unet3d import Volumes, draw_volumes


def test_the_digits_are_the_ones_scikit_learn_ships():
    packed = files("podium.bench.data").joinpath("digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",")
    assert table.shape == (1797, 65)
    assert np.bincount(table[:, 64].astype(int)).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # Of the table of scikit-learn 1.9.1 (load_digits), pixels and label of each row as bytes.
    digest = hashlib.sha256(table.astype(np.uint8).tobytes()).hexdigest()
    assert digest == "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


def test_a_filled_polygon_has_the_pixels_whose_centres_are_inside():
    triangle = np.array([[1.0, 1.0], [9.0, 1.0], [1.0, 9.0]])
    mask = fill(triangle, 12, 12)
    for row in range(12):
        for column in range(12):
            x, y = column + 0.5, row + 0.5
            if abs(x + y - 10) > 1e-9:  # centres on the edge may fall either way
                assert mask[row, column] == (x > 1 and y > 1 and x + y < 10)
    assert fill(np.array([[2.0, 3.0], [6.0, 3.0], [6.0, 5.0], [2.0, 5.0]]), 8, 8).sum() == 8


def test_shapes_lie_in_their_boxes_and_stand_out(tmp_path: Path):
    write_shapes(Shapes(side=48, train=12, evaluation=3, smallest=10, largest=20), tmp_path)
    drawn = read_shapes(tmp_path, "train")
    assert drawn.images.shape == (12, 48, 48, 3)
    assert len(drawn.boxes) == 12
    for image, boxes, classes, masks in zip(drawn.images, drawn.boxes, drawn.classes, drawn.masks, strict=True):
        assert 1 <= len(boxes) == len(classes) == len(masks) <= 3
        ground = image[~masks.any(0)].mean(0)
        for (left, top, right, bottom), mask in zip(boxes, masks, strict=True):
            rows, columns = mask.nonzero()
            assert left - 0.5 <= columns.min() < columns.max() <= right
            assert top - 0.5 <= rows.min() < rows.max() <= bottom
            assert np.abs(image[mask].mean(0) - ground).min() > 20
    first = hashlib.sha256((tmp_path / "train.npy").read_bytes()).hexdigest()
    write_shapes(Shapes(side=48, train=12, evaluation=3, smallest=10, largest=20), tmp_path)
    assert hashlib.sha256((tmp_path / "train.npy").read_bytes()).hexdigest() == first


def spectrum(sound: np.ndarray, low: float, high: float) -> float:
    energy = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(energy[(hertz >= low) & (hertz < high)].sum() / energy.sum())


def test_sounds_differ_where_speech_does():
    """The second formant of "u" lies near 900 Hz, where "i" has nothing; hissing lies above 2.5 kHz."""
    draw = np.random.default_rng(0)
    say = lambda letter: np.concatenate([speak(letter, draw) for _ in range(8)])  # noqa: E731
    assert spectrum(say("u"), 700, 1100) > 4 * spectrum(say("i"), 700, 1100)
    assert spectrum(say("s"), 2400, 4000) > 0.8
    assert spectrum(say("a"), 500, 1400) > 0.6


def test_no_two_utterances_sound_alike_and_all_words_are_of_the_lexicon():
    sounds, texts = make_speech(Speech(train=30, evaluation=10))
    assert len({sound.tobytes() for sound in sounds}) == 40
    assert {word for text in texts for word in text.split()} <= set(LEXICON)
    assert set("".join(texts)) <= set(ALPHABET)
    again, same = make_speech(Speech(train=30, evaluation=10))
    assert texts == same
    assert all(np.array_equal(a, b) for a, b in zip(sounds, again, strict=True))


def test_a_tone_lights_up_its_mel_channel():
    bank = Filterbank(mels=20, splice=1, rate=8000)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 22) / 2595) - 1)
    rest = 1e-3 * torch.randn(2000)
    for channel in (4, 10, 16):
        tone = torch.sin(2 * torch.pi * float(edges[channel + 1]) * torch.arange(2000) / RATE)
        features = bank(torch.cat([rest, tone]))  # normalised by channel: loud against its own silence
        assert features.shape[1] == 20
        assert features[-10:, channel].mean() > features[:10, channel].mean() + 1.5


def test_volumes_hold_a_growth_in_most_bodies():
    images, labels = draw_volumes(Volumes(side=16, train=6, evaluation=2))
    assert images.shape == labels.shape == (8, 16, 16, 16)
    for image, label in zip(images.astype(float), labels, strict=True):
        assert {1, 2} <= set(np.unique(label))
        levels = [image[label == kind].mean() for kind in range(3)]
        assert levels[0] < levels[1] < levels[2]


def test_rows_of_bert_are_masked_as_the_paper_says(tmp_path: Path):
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 300, (400, 10)).astype(np.uint16)
    np.savez(tmp_path / "train.npz", rows=rows, starts=np.array([0, 100, 250]))
    parts = _Parts(tmp_path / "train.npz", LibraryText(vocabulary=300, length=23, characters=0, evaluation=0))
    assert len(parts) == 400 - 3  # the last part of each file has no successor
    generator = torch.Generator().manual_seed(0)
    chosen = torch.arange(len(parts))
    batch = parts.batch(chosen, generator)
    (tokens, segments), (words, stray) = batch.inputs, batch.labels
    assert tokens.shape == segments.shape == words.shape == (397, 23)
    original = torch.where(words == IGNORED, tokens, words)
    assert (original[:, 0] == 300).all()
    assert (original[:, 11] == 301).all()
    assert (original[:, 22] == 301).all()
    firsts = torch.from_numpy(rows.astype(np.int64))[parts.firsts]
    assert torch.equal(original[:, 1:11], firsts)
    followers = torch.from_numpy(rows.astype(np.int64))[parts.firsts + 1]
    assert torch.equal(original[stray == 0, 12:22], followers[stray == 0])
    assert 0.4 < stray.float().mean() < 0.6
    asked = words != IGNORED
    assert not asked[:, [0, 11, 22]].any()
    assert 0.13 < asked[:, 1:11].float().mean() < 0.17
    shown = tokens[asked]
    assert 0.77 < (shown == 302).float().mean() < 0.83
    assert 0.08 < (shown == words[asked]).float().mean() < 0.13
    assert torch.equal(segments[0], torch.tensor([0] * 12 + [1] * 11))
