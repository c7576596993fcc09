"""The quality scale: named rules on a ladder, what an integration says of each, and the check.

An integration reaches a level when every rule of that level and of those below is ``done`` or
``exempt``. What it says must be borne out: by the machine, by a test that it names, or by a comment
that somebody can be held to. See ``docs/reference/integrations.md``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from slotmeter.errors import ConfigError
from slotmeter.services.integrations import Integration, IntegrationKind, Level, read_toml

__all__ = [
    "LADDER",
    "QUALITY_FILE",
    "RULES",
    "BorneOut",
    "Finding",
    "Mark",
    "Rule",
    "RuleStatus",
    "Scale",
    "check_integration",
    "read_scale",
]

QUALITY_FILE: Final = "QUALITY.toml"
OWN: Final = "own"
LADDER: Final = (Level.DECODES, Level.COMMANDS, Level.FIELD_PROVEN)


class RuleStatus(StrEnum):
    """What an integration says of a rule."""

    DONE = "done"
    OPEN = "todo"
    EXEMPT = "exempt"


class BorneOut(StrEnum):
    """What shows that a rule is kept."""

    MACHINE = "machine"
    TEST = "test"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it asks for, and what shows that it is kept."""

    says: str
    by: BorneOut


_M, _T, _W = BorneOut.MACHINE, BorneOut.TEST, BorneOut.WORD

_COMMON: Final = {
    Level.DECODES: {
        "manifest": Rule("The manifest is whole and true.", _M),
        "documented": Rule("A page says what it speaks, its options and its limits.", _M),
        "typed": Rule("The package is typed, and says so by py.typed.", _M),
    },
    Level.COMMANDS: {
        "log-without-secrets": Rule("No payload, token or secret is logged.", _T),
    },
    Level.FIELD_PROVEN: {
        "field-trial": Rule("Real meters of a utility run on it: where, how many, how long.", _W),
        "load-measured": Rule("It is known how many devices one entry bears, and on what.", _W),
    },
}

RULES: Final[Mapping[IntegrationKind, Mapping[Level, Mapping[str, Rule]]]] = MappingProxyType(
    {
        IntegrationKind.MEDIUM: {
            Level.DECODES: {
                **_COMMON[Level.DECODES],
                "options-refused": Rule("An unknown option is refused by its name.", _T),
                "logged-first": Rule("No device is answered before its frame is logged.", _T),
                "sends-again": Rule("A device whose frame was not logged is told so.", _T),
                "bad-input-borne": Rule("Bytes that are no protocol stop nothing.", _T),
                "unloads-whole": Rule("After unloading no task and no socket is left.", _T),
            },
            Level.COMMANDS: {
                **_COMMON[Level.COMMANDS],
                "commands-delivered": Rule("What is due reaches its device and no other.", _T),
                "repeats-harmless": Rule("A repeated request does nothing twice.", _T),
                "identity-proven": Rule(
                    "A device proves who it is, or only a network of the "
                    "operator's own can reach the port.",
                    _T,
                ),
            },
            Level.FIELD_PROVEN: {
                **_COMMON[Level.FIELD_PROVEN],
                "outage-survived": Rule("An outage of network and server lost no frame.", _W),
            },
        },
        IntegrationKind.DRIVERS: {
            Level.DECODES: {
                **_COMMON[Level.DECODES],
                "worked-examples": Rule("Every driver passes the contract of drivers.", _M),
            },
            Level.COMMANDS: {
                **_COMMON[Level.COMMANDS],
                "commands-proven": Rule("A virtual meter obeyed each kind of command.", _T),
                "retries-harmless": Rule("A command that arrives twice is done once.", _T),
            },
            Level.FIELD_PROVEN: dict(_COMMON[Level.FIELD_PROVEN]),
        },
    }
)
"""The ladder of each kind of integration; one may set itself further rules."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What an integration says of one rule.

    Args:
        status: kept, to be kept, or not for this one.
        comment: why, or what was seen.
        proof: a test, as ``tests/contract/test_media.py::test_name``.
    """

    status: RuleStatus
    comment: str = ""
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """What an integration says of every rule, by level; its own rules under their level."""

    marks: Mapping[Level, Mapping[str, Mark]]
    own: Mapping[str, str]

    @property
    def reached(self) -> Level:
        """The highest level all of whose rules, and those below, are done or exempt."""
        reached = Level.NONE
        for level in LADDER:
            marks = self.marks.get(level, {})
            if not marks or any(mark.status is RuleStatus.OPEN for mark in marks.values()):
                break
            reached = level
        return reached


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: a stable code, the rule or field, and a sentence."""

    code: str
    where: str
    text: str


def read_scale(document: Mapping[str, Any]) -> Scale:
    """Read a quality scale.

    Raises:
        ConfigError: ``bad_quality``, naming the rule.
    """
    marks: dict[Level, dict[str, Mark]] = {level: {} for level in LADDER}
    own: dict[str, str] = {}
    for section, rules in document.items():
        if not isinstance(rules, Mapping):
            raise _bad(section, "a table of rules")
        for name, given in rules.items():
            if section == OWN:
                level, says, rest = _own_rule(name, given)
                own[name] = says
                marks[level][name] = _mark(name, rest)
            elif section in LADDER:
                marks[Level(section)][name] = _mark(name, given)
            else:
                raise _bad(section, f"one of {', '.join(LADDER)}, {OWN}")
    return Scale(MappingProxyType(marks), MappingProxyType(own))


def _own_rule(name: str, given: Any) -> tuple[Level, str, dict[str, Any]]:
    if not isinstance(given, Mapping) or given.get("level") not in LADDER or not given.get("says"):
        raise _bad(name, f"a level ({', '.join(LADDER)}) and what the rule says")
    rest = {key: value for key, value in given.items() if key not in ("level", "says")}
    return Level(given["level"]), str(given["says"]), rest


def _mark(name: str, given: Any) -> Mark:
    table = {"status": given} if isinstance(given, str) else given
    statuses = ", ".join(RuleStatus)
    if not isinstance(table, Mapping) or table.get("status") not in set(RuleStatus):
        raise _bad(name, f"one of {statuses}, or a table with status, comment and proof")
    if set(table) - {"status", "comment", "proof"} or not all(
        isinstance(value, str) for value in table.values()
    ):
        raise _bad(name, "texts: status, comment and proof")
    return Mark(RuleStatus(table["status"]), table.get("comment", ""), table.get("proof", ""))


def check_integration(
    found: Integration, faults: Mapping[str, str], *, tree: Path | None = None
) -> list[Finding]:
    """Return what does not hold of what an integration says; nothing when all of it does.

    Args:
        found: the integration.
        faults: rule name to sentence, of rules that the caller's own machines found broken.
        tree: the source tree, if there is one: pages and tests are looked up there.
    """
    try:
        scale = read_scale(read_toml(found.folder / QUALITY_FILE))
    except ConfigError as error:
        return [Finding(error.code, error.field or QUALITY_FILE, error.message)]
    findings = _compare(found.manifest.kind, scale)
    seen = {**_machine_faults(found, tree), **faults}
    for level in LADDER:
        for name, mark in scale.marks[level].items():
            rule = RULES[found.manifest.kind][level].get(name)
            findings += _borne_out(name, mark, rule, seen, tree)
    claimed, reached = found.manifest.quality, scale.reached
    if _height(claimed) > _height(reached):
        findings.append(
            Finding(
                "quality_claimed",
                "quality",
                f"the manifest claims {claimed}, but its rules reach {reached}",
            )
        )
    return findings


def _compare(kind: IntegrationKind, scale: Scale) -> list[Finding]:
    """Return rules that are missing, and those that nobody knows."""
    findings = []
    for level in LADDER:
        asked, given = RULES[kind][level], scale.marks[level]
        findings += [
            Finding("rule_missing", name, f"{level}: {asked[name].says}")
            for name in asked
            if name not in given
        ]
        findings += [
            Finding("rule_unknown", name, f"{level} has no such rule; one of its own goes to [own]")
            for name in given
            if name not in asked and name not in scale.own
        ]
    return findings


def _borne_out(
    name: str, mark: Mark, rule: Rule | None, faults: Mapping[str, str], tree: Path | None
) -> list[Finding]:
    by = rule.by if rule is not None else BorneOut.TEST
    code = text = ""
    if mark.status is RuleStatus.EXEMPT and not mark.comment:
        code, text = "comment_missing", "say why it is exempt"
    elif mark.status is not RuleStatus.DONE:
        pass
    elif by is BorneOut.MACHINE and name in faults:
        code, text = "rule_broken", faults[name]
    elif by is BorneOut.WORD and not mark.comment:
        code, text = "comment_missing", "say what was seen"
    elif by is BorneOut.TEST and not mark.proof:
        code, text = "proof_missing", "name the test that shows it"
    elif by is BorneOut.TEST and tree is not None and not _test_is_there(tree, mark.proof):
        code, text = "proof_not_there", f"there is no test {mark.proof}"
    return [Finding(code, name, text)] if code else []


def _machine_faults(found: Integration, tree: Path | None) -> dict[str, str]:
    """Return the rules that can be seen to be broken from the files alone."""
    faults = {}
    page = found.manifest.documentation
    if tree is not None and page.startswith("docs/") and not (tree / page).is_file():
        faults["documented"] = f"there is no page {page}"
    if not (found.folder / "py.typed").is_file():
        faults["typed"] = f"{found.package} has no file py.typed"
    if found.missing:
        faults["manifest"] = f"it requires {', '.join(found.missing)}, not installed here"
    return faults


def _test_is_there(tree: Path, proof: str) -> bool:
    """Say whether a test function stands where a proof says."""
    path, _, name = proof.partition("::")
    file = tree / path
    if not file.is_file() or file.suffix != ".py":
        return False
    if not name:
        return True
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(
        isinstance(node, functions) and node.name == name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )


def _height(level: Level) -> int:
    return 0 if level is Level.NONE else LADDER.index(level) + 1


def _bad(where: str, expected: str) -> ConfigError:
    return ConfigError("bad_quality", f"expected {expected}", field=where)
