"""A payload as a tree of lines, each with the path that leads to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

#: Lines of a tree; the raw body has the rest.
MOST = 1000
#: Longest text that is shown whole.
LONGEST = 500
DEEPEST = 12


@dataclass(kw_only=True)
class Node:
    """One value: a leaf with its text, or a branch with its children."""

    name: str
    path: str
    text: str = ""
    children: list[Node] = field(default_factory=list)


def tree_of(payload: Any) -> list[Node]:
    """Return the top lines of *payload*; a last one says so when there would be too many."""
    left = [MOST]
    nodes = _children(payload, "", left, 0) if isinstance(payload, dict | list) else []
    if left[0] <= 0:
        nodes.append(Node(name="…", path="", text=f"more than {MOST} values: see Raw"))
    return nodes


def _children(
    value: dict[str, Any] | list[Any], path: str, left: list[int], depth: int
) -> list[Node]:
    pairs: list[tuple[str, Any]]
    if isinstance(value, dict):
        pairs = [(name, one) for name, one in value.items()]
        paths = [f"{path}.{name}" if path else name for name, _ in pairs]
    else:
        pairs = [(str(place), one) for place, one in enumerate(value)]
        paths = [f"{path}[{name}]" for name, _ in pairs]
    nodes = []
    for (name, one), its_path in zip(pairs, paths, strict=True):
        left[0] -= 1
        if left[0] < 0:
            break
        node = Node(name=name, path=its_path)
        if isinstance(one, dict | list) and one and depth < DEEPEST:
            node.children = _children(one, its_path, left, depth + 1)
        else:
            text = json.dumps(one, ensure_ascii=False)
            node.text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        nodes.append(node)
    return nodes
