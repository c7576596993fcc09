"""What is wrong with a tariff document: every problem, with its place.

A place is a path (``energy.blocks[2].price``; items of a list are counted from 1) and, for a
document that came as text, the line and column, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from slotmeter.errors import Refused

__all__ = ["Mark", "Problem", "Problems", "TariffProblems", "excerpt", "near"]

PROBLEMS_MAX: Final = 100
"""More than this help nobody; reading goes on, but they are not kept."""

_EXCERPT_CHARACTERS_MAX = 40
_PATH_CHARACTERS_MAX = 120


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text; both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or in a list of warnings: that deserves a look.

    Args:
        path: of the value at fault; empty for the document itself.
        message: a sentence that says what was expected, what came and what to do.
        mark: where, in a document that came as text.
    """

    path: str
    message: str
    mark: Mark | None = None

    def __str__(self) -> str:
        """Write it as ``line 4, column 10: energy.price: expected ...``."""
        place = f"line {self.mark.line}, column {self.mark.column}: " if self.mark else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"

    def as_dict(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "line": self.mark.line if self.mark else None,
            "column": self.mark.column if self.mark else None,
            "path": self.path,
            "message": self.message,
        }


class TariffProblems(Refused):
    """A tariff document that cannot be used; ``details["problems"]`` lists all that is wrong.

    Each is a mapping of ``line``, ``column`` (None when the document did not come as text),
    ``path`` and ``message``. The error's own ``field`` and message are those of the first.
    """

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> TariffProblems:
        """Make the error of at least one problem."""
        listed = list(problems)
        first = listed[0]
        place = f"line {first.mark.line}, column {first.mark.column}: " if first.mark else ""
        more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
        return cls(
            "tariff_invalid",
            f"{place}{first.message}{more}",
            field=first.path or None,
            details={"problems": [problem.as_dict() for problem in listed]},
        )

    @property
    def problems(self) -> tuple[Mapping[str, object], ...]:
        """What ``details["problems"]`` lists."""
        listed = self.details["problems"]
        return tuple(listed) if isinstance(listed, list) else ()


class Problems:
    """Collects problems and warnings while a document is read.

    Args:
        marks: path to place, for documents that came as text.
    """

    def __init__(self, marks: Mapping[str, Mark] | None = None) -> None:
        self._marks = marks or {}
        self.found: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, path: str, message: str) -> None:
        """Keep a problem."""
        if len(self.found) < PROBLEMS_MAX:
            self.found.append(Problem(_clean(path), message, self._mark(path)))

    def warn(self, path: str, message: str) -> None:
        """Keep a warning."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(Problem(_clean(path), message, self._mark(path)))

    def _mark(self, path: str) -> Mark | None:
        """Return the place of a path, or of the nearest part of the document around it."""
        while path and path not in self._marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._marks.get(path)

    def raise_any(self) -> None:
        """Raise what was found, in the order of the text.

        Raises:
            TariffProblems: when there is any.
        """
        if self.found:
            raise TariffProblems.of(sorted(self.found, key=_place))


def _place(problem: Problem) -> Mark:
    return problem.mark or Mark(0, 0)


def _clean(text: str, length_max: int = _PATH_CHARACTERS_MAX) -> str:
    """Return the beginning of a text from outside without what no screen can show."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: length_max + 1])
    return clean if len(clean) <= length_max else f"{clean[:length_max]}..."


def excerpt(text: str) -> str:
    """Return the beginning of a text from outside, in quotes, fit for a message."""
    return f'"{_clean(text, _EXCERPT_CHARACTERS_MAX)}"'


def near(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "x"?`` when a known word is close to this one, else nothing."""
    matches = get_close_matches(word[:80].lower(), list(known), n=1)
    return f'; did you mean "{matches[0]}"?' if matches else ""
