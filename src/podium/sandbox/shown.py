"""What a notebook offers to show values with: `display`, `_`, `Out`, `In`, and IPython's names for them.

Knows a session's variables and where its text goes. `IPython` itself is stood in for only where it is not installed,
because code written for notebooks imports `display` from it.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

_LAST = ("_", "__", "___")
# Objects of IPython.display that only carry text; what is shown of them is that text.
_TEXTS = ("Code", "HTML", "Latex", "Markdown", "Math", "Pretty")


class Shown:
    """The values that one session has shown, under the names that a notebook gives them."""

    def __init__(self, variables: dict[str, Any], write: Callable[[str], Any]) -> None:
        self._variables = variables
        self._write = write
        self._last: list[Any] = ["", "", ""]  # newest first
        self.outputs: dict[int, Any] = {}
        self.inputs: list[str] = [""]

    def offer(self) -> None:
        """Put the names where blocks find them: variables that a block may replace, functions among the built-ins."""
        self._variables.update(zip(_LAST, self._last, strict=True), In=self.inputs, Out=self.outputs)
        builtins.display = self.display  # type: ignore[attr-defined]
        builtins.exit = builtins.quit = sys.exit
        builtins.help = _help
        sys.meta_path.append(_Understudy(self.display))

    def display(self, *values: Any, **options: Any) -> None:
        """Show each value on a line of its own. IPython's options are about rich output, of which there is none."""
        for value in values:
            self._write(repr(value) + "\n")

    def value(self, value: Any, number: int) -> None:
        """Show the value of block `number` and keep it: `_`, `__`, `___`, `_number`, `Out[number]`.

        `_` is left alone where a block has given it another meaning, as IPython does.
        """
        self._write(repr(value) + "\n")
        if value is self.outputs:
            return
        untouched = all(self._variables.get(name, old) is old for name, old in zip(_LAST, self._last, strict=True))
        self._last = [value, *self._last[:2]]
        if untouched:
            self._variables.update(zip(_LAST, self._last, strict=True))
        self._variables[f"_{number}"] = self.outputs[number] = value


def _help(*topic: Any) -> None:
    """What `help` prints; at a terminal it would page, with another program's help."""
    import pydoc

    if topic:
        pydoc.Helper(output=sys.stdout)(topic[0])  # type: ignore[arg-type]
    else:
        print("help(name) prints what is known of a name")


class _Text:
    """A value made to be displayed, such as Math(r"x^2"): here it is its text."""

    def __init__(self, data: Any = "", *arguments: Any, **options: Any) -> None:
        self.data = str(data)

    def __repr__(self) -> str:
        return self.data


class _Understudy:
    """Makes IPython's modules of these names when nothing else has them: it is asked last."""

    def __init__(self, display: Callable[..., None]) -> None:
        self._display = display

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name not in ("IPython", "IPython.core", "IPython.core.display", "IPython.display"):
            return None
        return ModuleSpec(name, self, is_package=not name.endswith("display"))  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__.endswith("display"):
            module.__dict__.update(
                {name: type(name, (_Text,), {}) for name in _TEXTS},
                display=self._display,
                clear_output=lambda wait=False: None,
            )
        elif module.__name__ == "IPython":
            module.__dict__.update(get_ipython=lambda: None)
