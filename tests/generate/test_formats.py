"""One table of weight formats: what the C kernels, the runners and the planner say of them is what it says."""

import re
from pathlib import Path

import podium.generate.native
from podium.generate.device.place import DTYPES
from podium.generate.formats import GPU_FORMATS, WEIGHT_FORMATS
from podium.plan.inference_memory import WEIGHT_BYTES

HEADER = Path(podium.generate.native.__file__).with_name("linear.h")


def test_the_c_enum_has_the_names_and_numbers_of_the_table():
    enum = re.search(r"typedef enum \{([^}]*)\} LinearFormat;", HEADER.read_text())
    assert enum is not None
    found = {name.lower(): int(number) for name, number in re.findall(r"LINEAR_(\w+) = (\d+)", enum[1])}
    assert found == {name: format.number for name, format in WEIGHT_FORMATS.items()}


def test_a_device_knows_the_formats_that_the_table_gives_it():
    assert set(DTYPES) == set(GPU_FORMATS)
    assert all(dtype is None or dtype.itemsize * 8 == WEIGHT_FORMATS[name].bits for name, dtype in DTYPES.items())


def test_the_planner_counts_the_same_bytes():
    both = WEIGHT_FORMATS.keys() & WEIGHT_BYTES.keys()
    assert both >= set(GPU_FORMATS)
    assert all(WEIGHT_BYTES[name] * 8 == WEIGHT_FORMATS[name].bits for name in both)
