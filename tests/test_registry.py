"""Registries: Podium's own things first, packages found by their entry points, and clear words where they are wrong."""

import re
import sys
from pathlib import Path

import pytest

from podium.errors import InputError
from podium.registry import Registry

GROUP = "podium.test_things"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a package of one entry point and one module, where this process finds it."""
    made: list[str] = []

    def make(point: str, code: str, module: str = "offered", package: str = "offering") -> None:
        site = tmp_path / package
        metadata = site / f"{package}-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{point}\n")
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        made.append(module)

    yield make
    for module in made:
        sys.modules.pop(module, None)


THINGS: Registry = Registry("thing", GROUP)


@pytest.fixture(autouse=True)
def nothing_stays():
    with THINGS.isolated():
        yield


def test_what_is_added_is_found_and_a_second_of_its_name_refused():
    THINGS.add("one", 1, "here:one")
    assert (THINGS["one"], THINGS.find("one"), list(THINGS), "one" in THINGS, len(THINGS)) == (1, 1, ["one"], True, 1)
    THINGS.add("one", 2, "here:one")  # the same place: a module that is loaded anew
    assert THINGS["one"] == 2
    with pytest.raises(InputError, match=r"there:one: thing 'one' is here:one already"):
        THINGS.add("one", 3, "there:one")
    with pytest.raises(InputError, match="there is no thing 'onne'") as caught:
        THINGS.find("onne")
    assert caught.value.cure == "did you mean 'one'?"
    assert THINGS.get("onne") is None


def test_a_package_adds_one_by_registering_it(install):
    install("two = offered", "import tests.test_registry as t\nt.THINGS.add('two', 22, 'offered:two')\n")
    assert "two" in THINGS
    assert list(THINGS) == ["two"]
    assert "offered" not in sys.modules  # nothing is imported before it is asked for
    assert THINGS.find("two") == 22


def test_an_entry_point_may_name_the_thing_itself(install):
    install("three = offered:three", "three = 'drei'\n")
    assert THINGS["three"] == "drei"


@pytest.mark.parametrize(
    ("point", "code", "message"),
    [
        ("two = offered", "x = 1\n", "offered of package offering registers no thing 'two'"),
        ("two = offered", "1 / 0\n", "thing 'two' of package offering cannot be imported: ZeroDivisionError"),
        ("two = absent", "", "cannot be imported: ModuleNotFoundError"),
        ("two = offered:absent", "x = 1\n", "cannot be imported: AttributeError"),
    ],
)
def test_a_package_that_is_wrong_is_named_and_leaves_nothing(install, point, code, message):
    install(point, code)
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            THINGS.find("two")
    assert not THINGS._things


def test_a_module_that_fails_behind_its_registration_registers_nothing(install):
    install("two = offered", "import tests.test_registry as t\nt.THINGS.add('two', 2, 'offered:two')\n1 / 0\n")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        THINGS.find("two")
    assert not THINGS._things


def test_two_packages_of_one_name_are_told_apart_only_when_it_is_asked_for(install):
    install("two = offered:x", "x = 1\n")
    install("two = also:x", "x = 1\n", "also", "other")
    assert list(THINGS) == ["two"]
    with pytest.raises(InputError, match=r"two packages offer a thing 'two': package (offering|other) and package"):
        THINGS.find("two")


def test_names_of_packages_never_hide_podiums_own(install):
    install("one = offered:x", "x = 'theirs'\n")
    THINGS.add("one", "ours", "here:one")
    assert THINGS.find("one") == "ours"
    assert list(THINGS) == ["one"]


def test_every_group_is_in_the_page_that_explains_it():
    """docs/extending.md has a section for whatever can be registered."""
    root = Path(__file__).parents[1]
    text = "".join(file.read_text() for file in (root / "src").rglob("*.py"))
    groups = re.findall(r'(?:Registry\[?\w*\]?|_[A-Z]\w+)\(\s*"[a-z ]+",\s*"(podium\.\w+)"', text)
    assert len(groups) >= 5
    page = (root / "docs" / "extending.md").read_text()
    assert [group for group in groups if f"`{group}`" not in page] == []
