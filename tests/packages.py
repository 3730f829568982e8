"""Packages that docs/extending.md shows, laid out as pip would install them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"


def shown_files(section: str) -> dict[str, str]:
    """The files that a section of the page shows: name -> content."""
    (text,) = [part for part in re.split(r"^## ", DOCS.read_text(), flags=re.M) if part.startswith(f"{section}\n")]
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", text, flags=re.M | re.S))


def install(folder: Path, files: dict[str, str]) -> Path:
    """Write a package's modules, and the metadata that its pyproject.toml asks for."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
