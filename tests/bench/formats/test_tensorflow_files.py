"""Files that TensorFlow 2.21 wrote (formats/data, by the code in its README), read without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.bench.formats.checkpoint import read_checkpoint
from podium.bench.formats.protobuf import WireError, packed_varints, varint
from podium.bench.formats.tfrecord import masked_crc, parse_example, read_records
from podium.errors import InputError

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["tiny.tfrecord", "tiny.tfrecord.zz"])
def test_examples_as_tensorflow_writes_them(name: str):
    examples = [parse_example(record) for record in read_records(DATA / name)]
    assert len(examples) == 3
    for number, example in enumerate(examples):
        assert np.array_equal(example["input_ids"], [number, 300 * number, -1, 2**40, 0, 30521])
        assert np.allclose(example["weights"], [0.5, -number, 1e-3])
        assert example["x"] == [b"ab" * number, b"c"]
        assert len(example["empty"]) == 0


def test_a_checkpoint_as_tensorflow_writes_it():
    tensors = read_checkpoint(DATA / "tiny.ckpt")
    assert len(tensors) == 33  # 30 kernels, the step and two more; strings are left out
    for number in range(30):
        kernel = tensors["conv2d/kernel" if number == 0 else f"conv2d_{number}/kernel"]
        assert kernel.shape == (1, 1, 2, number % 3 + 1)
        assert (kernel == number + 0.5).all()
    assert tensors["global_step"] == 123456789012
    assert np.array_equal(tensors["bert/embeddings/LayerNorm/gamma"], np.arange(5.0))
    assert tensors["half"].tolist() == [1.5, -2.0]


def test_known_checksums():
    """CRC-32C of "123456789" is E3069283 (RFC 3720 names the polynomial, this is its check value)."""
    plain = 0xE3069283
    assert masked_crc(b"123456789") == ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("keep", [5, 12, 40, -3])
def test_records_that_are_cut_off_are_refused(keep: int, tmp_path: Path):
    path = tmp_path / "part"
    path.write_bytes((DATA / "tiny.tfrecord").read_bytes()[:keep])
    with pytest.raises(InputError, match="cut off"):
        list(read_records(path))


def test_other_files_are_refused(tmp_path: Path):
    other = tmp_path / "other.index"
    other.write_bytes(b"no table, but long enough for a footer" * 4)
    with pytest.raises(InputError, match="no TensorFlow checkpoint"):
        read_checkpoint(tmp_path / "other")
    with pytest.raises(InputError, match="missing"):
        read_checkpoint(tmp_path / "none")
    with pytest.raises(InputError, match="no TFRecord"):
        list(read_records(other))
    (tmp_path / "a.zz").write_bytes(b"plain")
    with pytest.raises(InputError, match="cannot be read"):
        list(read_records(tmp_path / "a.zz"))
    whole = (DATA / "tiny.ckpt.index").read_bytes()
    for place in range(0, len(whole), 7):  # no byte turned over ends in a traceback
        (tmp_path / "turned.index").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read_checkpoint(tmp_path / "turned")
        except InputError:
            continue


def encoded(value: int) -> bytes:
    value %= 1 << 64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_packed_numbers(values: list[int]):
    data = b"".join(map(encoded, values))
    assert packed_varints(data).tolist() == values
    at = 0
    for value in values:
        number, at = varint(data, at)
        assert number == value % (1 << 64)
    if data:
        with pytest.raises(WireError):
            packed_varints(data + b"\x80")


@given(st.binary(max_size=60))
def test_any_bytes_are_an_example_or_refused(data: bytes):
    try:
        found = parse_example(data)
    except WireError:
        return
    for name, value in found.items():
        assert isinstance(name, str)
        kinds = [bytes] if isinstance(value, list) else [np.dtype("<f4"), np.dtype(np.int64)]
        assert all(type(one) in kinds for one in value) if isinstance(value, list) else value.dtype in kinds
