"""Training documents: what is trained on, what is too long."""

from pathlib import Path

import pytest

from podium.curate import encode_solutions, make_solutions
from podium.errors import InputError
from podium.problems import iterate_solutions, load_problems
from podium.records import Solution
from podium.storage import read_rows, write_rows
from podium.text import train_tokenizer


def test_only_what_the_model_writes_is_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "tir.jsonl"
    make_solutions(load_problems("gym:gcd", size=8), path, "tir")
    rows = read_rows(path, Solution)
    tokenizer = train_tokenizer([row.prompt[0].content + row.text for row in rows], 400)
    documents, report = encode_solutions(iterate_solutions(path), tokenizer, 500)
    assert (report.documents, report.dropped) == (8, 0)
    for row, (ids, mask) in zip(rows, documents, strict=True):
        trained = tokenizer.decode([number for number, flag in zip(ids, mask, strict=True) if flag], special=False)
        assert trained == row.parts[0].text + row.parts[2].text
    assert report.trained_tokens == sum(sum(mask) for _, mask in documents)

    lengths = sorted(len(ids) for ids, _ in documents)
    shorter, cut = encode_solutions(iterate_solutions([path, path]), tokenizer, lengths[3])
    assert cut.dropped == 16 - len(shorter)
    assert cut.dropped > 0
    assert cut.longest == lengths[-1]
    with pytest.raises(InputError, match="none of 8 solutions fits 10 tokens"):
        encode_solutions(iterate_solutions(path), tokenizer, 10)


def test_no_solutions_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "none.jsonl", [])
    with pytest.raises(InputError, match="no solutions"):
        encode_solutions(iterate_solutions(tmp_path / "none.jsonl"), train_tokenizer(["abc"], 300), 10)
