"""What people type for quantities."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.plan.hardware import DEVICES, find_device
from podium.plan.units import (
    parse_bytes,
    parse_count,
    parse_devices,
    parse_rate,
    parse_seconds,
    show_bytes,
    show_count,
    show_seconds,
)


def test_quantities() -> None:
    assert parse_count("300B") == 300e9
    assert parse_count("2.2M*9k") == 2.2e6 * 9e3
    assert parse_count("1.5e12") == 1.5e12
    assert parse_count("15,600 B") == 15.6e12
    assert parse_bytes("80GB") == 80e9
    assert parse_bytes("80GiB") == 80 * 2**30
    assert parse_seconds("2d") == 172_800
    assert parse_seconds("90min") == 5400
    assert parse_rate("400Gb") == parse_rate("50GB/s") == parse_rate("400 Gbit/s") == 50e9
    assert parse_devices("512xH100") == (512, "H100")
    assert parse_devices("4,096 x A100-80GB") == (4096, "A100-80GB")
    assert parse_devices("2k×L4") == (2000, "L4")


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (parse_count, "many", "not a quantity"),
        (parse_count, "0", "more than 0"),
        (parse_count, "3X", "unknown suffix"),
        (parse_count, "-5", "not a quantity"),
        (parse_count, "9" * 400, "too large"),
        (parse_bytes, "80", "no unit"),
        (parse_bytes, "80Gb", "bits"),
        (parse_bytes, "80XB", "unknown unit"),
        (parse_bytes, "0GB", "more than 0"),
        (parse_seconds, "2", "no unit"),
        (parse_seconds, "2 moons", "unknown unit"),
        (parse_rate, "400", "no unit"),
        (parse_rate, "0Gb", "more than 0"),
        (parse_devices, "0xH100", "0 devices"),
        (parse_devices, "H100", "8xH100"),
        (parse_devices, "512", "512xH100"),
        (parse_devices, "99999999xH100", "no machine"),
    ],
)
def test_what_is_wrong_is_said(parse, text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text)
    assert says in str(error.value)
    assert error.value.cure


NUMBERS = st.sampled_from(["", "-1", "0", "0.0", "1", "2.5", "1e3", "1e999", "007", "99_9", "8,000", "nan", "inf"])
UNITS = st.sampled_from(["", "k", "B", "GB", "GiB", "b", "d", "min", "s", "xH100", " x B200", "*2k", "x", "²"])


@given(st.text(max_size=20) | st.builds("{}{}".format, NUMBERS, UNITS))
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    for parse in (parse_count, parse_bytes, parse_seconds, lambda text: parse_devices(text)[0]):
        value = None
        with contextlib.suppress(InputError):
            value = parse(text)
        assert value is None or 0 < value < float("inf"), text


@given(st.floats(1.0, 9e14))
def test_shown_counts_read_back(value: float) -> None:
    assert parse_count(show_count(value, 6)) == pytest.approx(value, rel=1e-3)


def test_shown() -> None:
    assert show_bytes(1.5e9) == "1.50 GB"
    assert show_count(999_999) == "1.00 M"
    assert show_seconds(3 * 86_400) == "3.00 days"
    assert show_seconds(0.05) == "50.0 ms"


def test_devices() -> None:
    assert find_device("h100").name == "H100-80GB"
    assert find_device("A100-80GB SXM") is find_device("a100")
    assert find_device("GC200").memory < 1e9
    with pytest.raises(InputError, match="H200"):
        find_device("H20O")
    for needed in ("A100", "H100", "H200", "B200", "L4", "T4", "MI300X", "TPU-v3", "TPU-v4", "TPU-v5e", "910", "IPU"):
        find_device(needed)
    for device in DEVICES.values():
        assert device.source
        assert max(device.peak.values()) == device.peak.get("fp4", max(device.peak.values()))
        assert 0.3 < device.achievable <= 1
        assert device.best(device.training_format) > 0


def test_a_device_from_a_probe(tmp_path) -> None:
    path = tmp_path / "cpu.json"
    path.write_text('{"name": "here", "peak": {"fp32": 1.6e11}, "memory": 2.4e10, "bandwidth": 2e10}')
    device = find_device(str(path))
    assert (device.name, device.training_format, device.achievable) == ("here", "fp32", 1.0)
    for wrong in ("{}", "[1]", "no", '{"peak": {"fp32": 1}, "memory": "x", "bandwidth": 1}'):
        path.write_text(wrong)
        with pytest.raises(InputError):
            find_device(str(path))
    with pytest.raises(InputError, match="its formats"):
        device.best("fp8")
