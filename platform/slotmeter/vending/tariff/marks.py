"""YAML as a tree of texts with their places.

Nothing is turned into numbers or dates here: a price written ``21.50`` stays the text ``21.50``,
and only the words ``true``, ``false`` and ``null`` mean more than their letters. So the country
``NO`` is no boolean, and the key ``on`` is a word. Text is read event by event, with limits on
length, depth and nodes; an alias counts with all that it stands for, so that a small text cannot
unfold into a large tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from slotmeter.vending.tariff.problems import Mark, Problem, TariffProblems, excerpt

__all__ = [
    "Entries",
    "Listing",
    "Node",
    "Scalar",
    "marks_by_path",
    "plain",
    "read_plain",
    "read_yaml",
]

CHARACTERS_MAX: Final = 100_000
NODES_MAX: Final = 10_000
DEPTH_MAX: Final = 16

_WORDS: Final[Mapping[str, bool | None]] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}
_NOWHERE: Final = Mark(0, 0)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; or true, false or nothing, where these were written without quotes."""

    value: str | bool | None
    mark: Mark = _NOWHERE
    size: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """Nodes in order; ``size`` counts all nodes below and this one."""

    items: tuple[Node, ...]
    mark: Mark = _NOWHERE
    size: int = 1


@dataclass(frozen=True, slots=True)
class Entries:
    """Named nodes in order; ``key_marks`` says where the names are."""

    items: Mapping[str, Node]
    mark: Mark = _NOWHERE
    size: int = 1
    key_marks: Mapping[str, Mark] = field(default_factory=dict)


Node = Scalar | Listing | Entries


def _refuse(message: str, mark: Mark | None = None, path: str = "") -> TariffProblems:
    return TariffProblems.of([Problem(path, message, mark)])


# --- from text ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet; ``key`` waits for its value."""

    mark: Mark
    is_mapping: bool
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    named: dict[str, Node] = field(default_factory=dict)
    key_marks: dict[str, Mark] = field(default_factory=dict)
    key: str | None = None
    size: int = 1


class _Builder:
    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        start = event.start_mark
        mark = Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)
        if isinstance(event, yaml.DocumentStartEvent):
            if self.root is not None:
                raise _refuse("expected one document; a second one begins here", mark)
        elif isinstance(event, yaml.NodeEvent):
            self._take_node(event, mark)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()

    def _take_node(self, event: yaml.NodeEvent, mark: Mark) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise _refuse("tags such as !!str have no meaning in a tariff; leave it out", mark)
        if isinstance(event, yaml.AliasEvent):
            anchor = event.anchor or ""
            node = self._anchors.get(anchor)
            if node is None:
                raise _refuse(f"*{excerpt(anchor)[1:-1]} stands for nothing yet", mark)
            self._place(node, mark)
        elif isinstance(event, yaml.ScalarEvent):
            value = _WORDS.get(event.value, event.value) if event.implicit[0] else event.value
            node = Scalar(value, mark)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            if self._wants_key():
                self._take_key(event.value, mark)
            else:
                self._place(node, mark)
        else:
            if self._wants_key():
                raise _refuse("expected a key, which is one word", mark)
            if len(self._open) >= DEPTH_MAX:
                raise _refuse(f"expected at most {DEPTH_MAX} levels of nesting", mark)
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(mark, is_mapping, event.anchor))

    def _wants_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_mapping and self._open[-1].key is None

    def _take_key(self, key: str, mark: Mark) -> None:
        parent = self._open[-1]
        first = parent.key_marks.get(key)
        if first is not None:
            text = f"{excerpt(key)} is given twice here, first in line {first.line}"
            self.problems.append(Problem("", text, mark))
        parent.key_marks[key] = mark
        parent.key = key

    def _place(self, node: Node, mark: Mark) -> None:
        self._nodes += node.size
        if self._nodes > NODES_MAX:
            raise _refuse(f"expected at most {NODES_MAX} values in all, aliases unfolded", mark)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            raise _refuse("expected a key, which is one word", mark)
        else:
            parent.named[parent.key] = node
            parent.key = None

    def _close(self) -> None:
        done = self._open.pop()
        node: Node
        if done.is_mapping:
            node = Entries(done.named, done.mark, done.size, done.key_marks)
        else:
            node = Listing(tuple(done.items), done.mark, done.size)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._nodes -= done.size - 1  # its parts were counted when they came
        self._place(node, done.mark)


def read_yaml(text: str) -> Node:
    """Read one YAML document (JSON is YAML too).

    Raises:
        TariffProblems: text that is no YAML, too long, too deep or too large, keys given twice.
    """
    if len(text) > CHARACTERS_MAX:
        raise _refuse(f"expected at most {CHARACTERS_MAX} characters, got {len(text)}")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        said = error.problem or error.context or "it cannot be read"
        at = error.problem_mark or error.context_mark
        place = Mark(at.line + 1, at.column + 1) if at is not None else Mark(1, 1)
        raise _refuse(f"expected YAML: {said}", place) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _refuse("expected text without control characters", place) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Escapes of characters that do not exist, version numbers of thousands of digits.
        raise _refuse("expected YAML; an escape or a directive in it cannot be read") from error
    if builder.root is None:
        raise _refuse("expected a tariff, got an empty document")
    if builder.problems:
        raise TariffProblems.of(builder.problems)
    return builder.root


# --- from and to plain values -------------------------------------------------------------------


def read_plain(value: object, path: str = "", depth: int = 0) -> Node:
    """Read mappings, lists, texts, integers, booleans and None, as JSON gives them.

    Raises:
        TariffProblems: any other kind of value, or too many of them.
    """
    node = _read_plain(value, path, depth)
    if node.size > NODES_MAX:
        raise _refuse(f"expected at most {NODES_MAX} values in all")
    return node


def _read_plain(value: object, path: str, depth: int) -> Node:
    if depth > DEPTH_MAX:
        raise _refuse(f"expected at most {DEPTH_MAX} levels of nesting", path=path)
    if value is None or isinstance(value, bool | str):
        return Scalar(value)
    if isinstance(value, int):
        return Scalar(_digits(value, path))
    if isinstance(value, Mapping):
        named: dict[str, Node] = {}
        for key, part in value.items():
            if not isinstance(key, str):
                raise _refuse("expected keys that are texts", path=path)
            named[key] = _read_plain(part, f"{path}.{key}" if path else key, depth + 1)
        return Entries(named, size=1 + sum(node.size for node in named.values()))
    if isinstance(value, list | tuple):
        items = tuple(
            _read_plain(part, f"{path}[{number}]", depth + 1)
            for number, part in enumerate(value, 1)
        )
        return Listing(items, size=1 + sum(node.size for node in items))
    raise _refuse(
        'expected a number with a fraction as text, as "21.50": programs round it otherwise',
        path=path,
    )


def _digits(value: int, path: str) -> str:
    if abs(value) >= 10**30:
        raise _refuse("expected a number of at most 30 digits", path=path)
    return str(value)


def plain(node: Node) -> object:
    """Return a tree as JSON-able values; numbers stay the texts that were written."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {key: plain(item) for key, item in node.items.items()}


def marks_by_path(node: Node) -> dict[str, Mark]:
    """Return where each path of a tree from text is: the key's place, or the list item's."""
    marks = {"": node.mark}
    marks.update(_marks_below(node, ""))
    return marks


def _marks_below(node: Node, path: str) -> Iterator[tuple[str, Mark]]:
    if isinstance(node, Listing):
        for number, item in enumerate(node.items, 1):
            yield f"{path}[{number}]", item.mark
            yield from _marks_below(item, f"{path}[{number}]")
    elif isinstance(node, Entries):
        for key, item in node.items.items():
            below = f"{path}.{key}" if path else key
            yield below, node.key_marks.get(key, item.mark)
            yield from _marks_below(item, below)
