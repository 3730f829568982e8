"""Vocabularies of SentencePiece: cuts against all cuts there are, against tokenizers and against the tool itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece_files import write_pieces

from podium.bench.formats.sentencepiece import SPACE, Pieces, read_pieces
from podium.errors import InputError

PIECES = ["<unk>", SPACE, "a", "b", "c", "ab", "bc", "abc", SPACE + "a", SPACE + "ab", "ca", "bca", "c" + SPACE]
SCORES = [0.0, -2.1, -3.0, -3.3, -2.7, -4.1, -4.6, -6.2, -3.9, -5.3, -4.4, -6.9, -4.05]


def cuts(text: str) -> Iterator[list[str]]:
    if not text:
        yield []
    for end in range(1, len(text) + 1):
        if text[:end] in PIECES:
            yield from ([text[:end], *rest] for rest in cuts(text[end:]))


TEXTS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3).map(" ".join)


@given(TEXTS)
def test_no_cut_scores_more(text: str):
    vocabulary = Pieces(PIECES, SCORES, [piece != "<unk>" for piece in PIECES])
    found = vocabulary.encode(text)
    best = max(sum(SCORES[PIECES.index(piece)] for piece in cut) for cut in cuts(SPACE + text.replace(" ", SPACE)))
    assert sum(SCORES[number] for number in found) == pytest.approx(best)
    assert vocabulary.decode(found) == text


@given(TEXTS)
def test_cuts_are_those_of_tokenizers(text: str):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer(tokenizers.models.Unigram(list(zip(PIECES, SCORES, strict=True)), 0, False))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(split=False)
    vocabulary = Pieces(PIECES, SCORES, [piece != "<unk>" for piece in PIECES])
    assert vocabulary.encode(text) == theirs.encode(text).ids


def test_files_are_those_of_sentencepiece(tmp_path: Path):
    tool = pytest.importorskip("sentencepiece")
    words = ["mister quilter is the apostle", "nor is mister quilter's manner less interesting", "he tells us that"]
    (tmp_path / "text.txt").write_text("\n".join(words * 5))
    tool.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "own"),
        vocab_size=45,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        model_type="unigram",
        hard_vocab_limit=False,
    )
    theirs, ours = (
        tool.SentencePieceProcessor(model_file=str(tmp_path / "own.model")),
        read_pieces(tmp_path / "own.model"),
    )
    assert len(ours) == theirs.get_piece_size()
    for text in (*words, "that is interesting", "quilter"):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
    write_pieces(tmp_path / "made.model", PIECES, SCORES)
    made = tool.SentencePieceProcessor(model_file=str(tmp_path / "made.model"))
    read = read_pieces(tmp_path / "made.model")
    assert [made.id_to_piece(number) for number in range(len(PIECES))] == read.pieces


def test_files_are_read_as_they_were_written(tmp_path: Path):
    write_pieces(tmp_path / "v.model", PIECES, SCORES)
    found = read_pieces(tmp_path / "v.model")
    assert found.pieces == PIECES
    assert found.scores == pytest.approx(SCORES)
    assert "<unk>" not in found.numbers


@pytest.mark.parametrize("how", ["missing", "cut off", "other bytes", "byte pairs", "empty"])
def test_other_files_are_refused(how: str, tmp_path: Path):
    path = tmp_path / "v.model"
    if how != "missing":
        write_pieces(path, PIECES, SCORES, kind=2 if how == "byte pairs" else 1)
    if how == "cut off":
        path.write_bytes(path.read_bytes()[:40])
    elif how in ("other bytes", "empty"):
        path.write_bytes(b"<html>" if how == "other bytes" else b"")
    with pytest.raises(InputError, match=r"v\.model"):
        read_pieces(path)


def test_a_letter_without_a_piece_is_named():
    vocabulary = Pieces(PIECES, SCORES, [piece != "<unk>" for piece in PIECES])
    with pytest.raises(ValueError, match="no pieces for x"):
        vocabulary.encode("ab xa")
