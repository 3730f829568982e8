"""Profiles: one table of limits on code, and pages that say what it says."""

import re
from pathlib import Path

import pytest

import podium
from podium.answering.toolloop import CODE_LIMITS
from podium.sandbox import profiles
from podium.solve import PROFILES

DOCS = Path(podium.__file__).parents[2] / "docs"


def test_every_room_knows_the_same_profiles():
    assert set(profiles) == set(CODE_LIMITS) == set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_a_name_means_the_same_limits_everywhere(name):
    profile, sandbox, code = PROFILES[name], profiles[name], CODE_LIMITS[name]
    assert profile.name == name
    assert profile.code_limits == code
    assert (code.seconds, code.characters) == (sandbox.wall_seconds, sandbox.output_chars)


def test_the_numbers_are_the_published_ones():
    """arXiv 2504.16891, section 6.3.5; its demo notebook, which runs two blocks at its library's defaults; table 7."""
    assert {name: (code.calls, code.seconds, code.characters) for name, code in CODE_LIMITS.items()} == {
        "kaggle": (6, 2.0, 200),
        "notebook": (2, 10.0, 1000),
        "eval": (8, 10.0, 1000),
    }


def test_the_pages_say_the_same_numbers():
    said = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| ([\d,]+) \|", (DOCS / "solve.md").read_text(), re.MULTILINE)
    assert {
        name: (int(calls), float(seconds), int(shown.replace(",", ""))) for name, calls, seconds, shown in said
    } == {name: (code.calls, code.seconds, code.characters) for name, code in CODE_LIMITS.items()}
    said = re.findall(r"`(\w+)`\s\((\d+)\ss,\s([\d,]+)(?:\scharacters)?\)", (DOCS / "sandbox.md").read_text())
    assert {name: (float(seconds), int(shown.replace(",", ""))) for name, seconds, shown in said} == {
        name: (limits.wall_seconds, limits.output_chars) for name, limits in profiles.items()
    }
