"""Trees of expressions: what formula.py reads and values.py computes. Knows their form alone."""

from __future__ import annotations

from typing import Any, TypeAlias

Node: TypeAlias = tuple[Any, ...]  # (kind, parts...): ("num", text), ("var", name), ("+", left, right), ("sin", x) …

OPERATORS = frozenset(("sum", "prod", "int", "lim"))  # with a bound variable


def variables(tree: Node) -> frozenset[str]:
    """Names of the free variables in a tree."""
    names: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        if node[0] == "var":
            names.add(node[1])
        elif node[0] in OPERATORS:
            bounds, body = node[2:-1], node[-1]
            names |= variables(body) - {node[1]}
            stack.extend(bounds)
        elif node[0] not in ("num", "const"):
            stack.extend(node[1:])
    return frozenset(names)


def kinds(tree: Node) -> frozenset[str]:
    """The kinds of all nodes in a tree; a constant counts by its name."""
    found: set[str] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        found.add(node[1] if node[0] == "const" else node[0])
        if node[0] not in ("num", "const", "var"):
            stack.extend(part for part in node[1:] if isinstance(part, tuple))
    return frozenset(found)
