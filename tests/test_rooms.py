"""The law of docs/architecture.md: a room imports only what lies on a lower floor, inside functions too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import podium

SOURCE = Path(podium.__file__).parent
FLOORS = (
    ("boxes", "ceilings", "errors", "figures", "interrupts", "native", "records", "settings", "waiting"),
    ("__init__", "registry", "storage", "toolcode"),
    ("lock", "problems", "runlog", "sandbox", "text"),
    ("answering", "folders", "models"),
    ("grading", "train"),
    ("compress", "curate"),
    ("generate", "solve"),
    ("board", "opening", "probe"),
    ("bench", "contest", "plan", "recipe"),
    ("commands",),
    ("__main__",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """`podium.train.optim` is of the room `train`; what `podium` itself holds is of `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, module of podium) of every import that is ever run; those of types only are left out."""
    tree = ast.parse(file.read_text())
    types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if node in types_only:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if is_module(name) else node.module or "" for name in inner]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] == "podium")


def is_module(name: str) -> bool:
    place = SOURCE.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def rooms() -> set[str]:
    return {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def test_every_room_has_a_floor_and_every_floor_only_rooms() -> None:
    assert rooms() == set(FLOOR_OF)


def test_rooms_import_only_from_lower_floors() -> None:
    wrong = []
    for file in sorted(SOURCE.rglob("*.py")):
        own = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        for line, module in imports(file):
            other = room_of(module)
            if other != own and FLOOR_OF[other] >= FLOOR_OF[own]:
                wrong.append(f"{file.relative_to(SOURCE)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_stages_are_unknown_to_the_engine_that_runs_them() -> None:
    """A command imports them, so that they register themselves."""
    for file in sorted((SOURCE / "recipe").glob("*.py")):
        modules = {f"{module}." for _, module in imports(file)}
        assert not [module for module in modules if module.startswith("podium.recipe.stages.")], file


def test_only_commands_know_the_command_line() -> None:
    for file in sorted(set(SOURCE.rglob("*.py")) - set((SOURCE / "commands").glob("*.py"))):
        names = {word.id for word in ast.walk(ast.parse(file.read_text())) if isinstance(word, ast.Name)}
        assert "typer" not in names, file


def test_the_page_shows_every_room_on_its_floor() -> None:
    page = SOURCE.parents[1] / "docs" / "architecture.md"
    shown: dict[str, int] = {}
    for floor, rooms_of_row in re.findall(r"^\| (\d+) \| (.*?) \|", page.read_text(), flags=re.M):
        for name in re.findall(r"`(\w+)(?:\.py|/)`", rooms_of_row):
            shown[name] = int(floor)
    assert shown == {room: floor for room, floor in FLOOR_OF.items() if room != "__main__"}


def test_no_file_leads_back_to_itself() -> None:
    """No circle of files, imports inside functions included; those of types only do not count."""
    leads = {module_of(file): {name for _, name in imports(file)} - {module_of(file)} for file in SOURCE.rglob("*.py")}
    while free := {name for name, others in leads.items() if not others & leads.keys()}:
        for name in free:
            del leads[name]
    # What is left lies on circles, or leads to one.
    on_circles = {name for name in leads if any(name in others for others in leads.values())}
    assert not on_circles, "\n".join(f"{name} -> {', '.join(sorted(leads[name] & on_circles))}" for name in on_circles)


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
