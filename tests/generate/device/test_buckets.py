from hypothesis import given
from hypothesis import strategies as st

from podium.generate.device.buckets import ROWS, block_bucket, block_buckets, row_bucket


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_width_holds_its_context_and_wastes_less_than_half(most, blocks):
    widths = block_buckets(most)
    assert list(widths) == sorted(set(widths))
    assert widths[-1] == most
    if blocks <= most:
        width = block_bucket(blocks, widths)
        assert blocks <= width <= most
        assert width <= max(4, blocks * 3 // 2)
        assert len(widths) <= 2 * most.bit_length()


@given(st.integers(1, 300))
def test_the_least_bucket_of_rows(rows):
    bucket = row_bucket(rows)
    if rows > ROWS[-1]:
        assert bucket is None
    else:
        assert bucket == min(size for size in ROWS if size >= rows)
