"""Building the C library: cached, raced, refused and broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from podium import native
from podium.native import build, cache_folder, find_compiler, library_of

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny C file, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "answer.c"
    (tmp_path / "answer.h").write_text("#define ANSWER 42\n")
    file.write_text('#include "answer.h"\nint answer(void) { return ANSWER; }\n')
    return file


def answer(source: Path) -> int:
    found = build([source])
    assert found.library is not None, found.reason
    return found.library.answer()


@needs_compiler
def test_a_library_is_compiled_once_and_again_when_a_header_changes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(source) == 42
    assert len(list(cache_folder().iterdir())) == 1

    def forbidden(*_: object) -> Path:
        raise AssertionError("compiled although the cache has it")

    with monkeypatch.context() as patch:
        patch.setattr(native, "compile_sources", forbidden)
        assert answer(source) == 42
    (source.parent / "answer.h").write_text("#define ANSWER 43\n")
    assert answer(source) == 43
    assert {file.suffix for file in cache_folder().iterdir()} == {".so"}


@needs_compiler
def test_processes_may_build_at_once(source: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from podium.native import build; "
        "native = build([Path(sys.argv[1])]); print(native.library.answer() if native.library else native.reason)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(source)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [racer.communicate(timeout=120)[0].strip() for racer in racers] == ["42"] * 4
    assert [file.suffix for file in cache_folder().iterdir()] == [".so"]


@needs_compiler
def test_a_cache_that_cannot_be_written_does_not_stop_the_build(source: Path) -> None:
    cache_folder().parent.mkdir(parents=True)
    cache_folder().write_text("a file where the folder should be")
    assert answer(source) == 42


@needs_compiler
def test_a_compiler_error_is_the_reason(source: Path) -> None:
    source.write_text("int answer(void) { return missing; }\n")
    found = build([source])
    assert found.library is None
    assert "answer.c" in found.reason
    assert "missing" in found.reason
    assert not list(cache_folder().glob("*"))


def test_no_compiler_is_the_reason(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(source.parent))
    monkeypatch.delenv("CC", raising=False)
    found = build([source])
    assert found.library is None
    assert "no C compiler found" in found.reason


def test_native_code_can_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_NATIVE", "0")
    found = library_of.__wrapped__(Path("."))
    assert found.library is None
    assert "PODIUM_NATIVE=0" in found.reason
