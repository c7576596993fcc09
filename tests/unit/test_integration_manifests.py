"""Manifests and quality scales: what is read, what is refused, and what does not hold."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import ConfigError
from slotmeter.services.driver_packs import DRIVER_GROUP
from slotmeter.services.integrations import (
    MEDIA_GROUP,
    FoundIntegrations,
    Level,
    find_integrations,
    read_manifest,
)
from slotmeter.services.quality_scale import RULES, check_integration, read_scale

MANIFEST = """\
key = "pigeon"
kind = "medium"
name = "Carrier pigeons"
version = "1.0"
iot_class = "local_push"
documentation = "docs/pigeons.md"
codeowners = ["@town/birds"]
quality = "decodes"
secrets = ["whistle"]
"""
PROOF = "tests/test_pigeon.py::test_it_flies"
DECODES = f"""\
[decodes]
manifest = "done"
documented = "done"
typed = "done"
options-refused = {{ status = "done", proof = "{PROOF}" }}
logged-first = {{ status = "done", proof = "{PROOF}" }}
sends-again = {{ status = "exempt", comment = "a pigeon does" }}
bad-input-borne = {{ status = "done", proof = "{PROOF}" }}
unloads-whole = {{ status = "done", proof = "{PROOF}" }}
[commands]
log-without-secrets = "todo"
commands-delivered = "todo"
repeats-harmless = "todo"
identity-proven = "todo"
[field-proven]
field-trial = "todo"
load-measured = "todo"
outage-survived = "todo"
"""

Make = Callable[..., FoundIntegrations]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with a package, its page and its test."""
    package = tmp_path / "pigeon"
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    package.mkdir()
    (package / "py.typed").touch()
    (package / "integration.toml").write_text(MANIFEST)
    (package / "QUALITY.toml").write_text(DECODES)
    (tmp_path / "docs" / "pigeons.md").touch()
    (tmp_path / "tests" / "test_pigeon.py").write_text("async def test_it_flies():\n    ...\n")
    return tmp_path


def found_in(tree: Path, group: str = MEDIA_GROUP, name: str = "pigeon") -> FoundIntegrations:
    point = EntryPoint(name, "pigeon:MEDIUM" if group == MEDIA_GROUP else "pigeon", group)
    return find_integrations([point], folder_of=lambda package: tree / package)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def codes(tree: Path, faults: dict[str, str] | None = None) -> list[tuple[str, str]]:
    (found,) = found_in(tree).integrations.values()
    findings = check_integration(found, faults or {}, tree=tree)
    return [(finding.code, finding.where) for finding in findings]


def test_a_package_with_a_whole_manifest_is_found(tree: Path) -> None:
    found = found_in(tree)

    assert found.integrations["pigeon"].manifest.quality is Level.DECODES
    assert found.secrets_of("pigeon") == ("whistle",)
    assert found.secrets_of("owl") == ()
    assert codes(tree) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        ('key = "pigeon"', 'key = "Pigeon"', "bad_field", "key"),
        ('key = "pigeon"', 'key = "owl"', "key_differs", "key"),
        ('kind = "medium"', 'kind = "drivers"', "bad_field", "iot_class"),
        ('kind = "medium"', 'kind = "bird"', "bad_field", "kind"),
        ('name = "Carrier pigeons"', 'name = ""', "bad_field", "name"),
        ('version = "1.0"', 'version = "new"', "bad_field", "version"),
        ('version = "1.0"', "version = 1.0", "bad_field", "version"),
        ('"local_push"', '"by air"', "bad_field", "iot_class"),
        ('"docs/pigeons.md"', '"http://birds"', "bad_field", "documentation"),
        ('["@town/birds"]', "[]", "bad_field", "codeowners"),
        ('["@town/birds"]', '["somebody"]', "bad_field", "codeowners"),
        ('["@town/birds"]', '"@town"', "bad_field", "codeowners"),
        ('quality = "decodes"', 'quality = "gold"', "bad_field", "quality"),
        ('["whistle"]', '["Whistle!"]', "bad_field", "secrets"),
        ('version = "1.0"\n', "", "field_missing", "version"),
        ('version = "1.0"', 'version = "1.0"\nwings = 2', "unknown_field", "wings"),
        ('version = "1.0"', "version", "file_unreadable", "integration.toml"),
    ],
)
def test_a_fault_of_a_manifest_is_named_and_breaks_no_other(
    tree: Path, old: str, new: str, code: str, field: str
) -> None:
    change(tree / "pigeon" / "integration.toml", old, new)
    found = found_in(tree)

    assert (found.broken["pigeon"].code, found.broken["pigeon"].field) == (code, field)
    assert found.integrations == {}
    assert found.media == {"pigeon"}


def test_a_package_without_a_manifest_is_told_how_to_write_one(tree: Path) -> None:
    (tree / "pigeon" / "integration.toml").unlink()
    error = found_in(tree).broken["pigeon"]

    assert error.code == "file_missing"
    assert "docs/reference/integrations.md" in error.message


def test_a_manifest_of_a_medium_is_refused_for_a_pack_of_drivers(tree: Path) -> None:
    assert found_in(tree, DRIVER_GROUP).broken["pigeon"].code == "kind_differs"


def test_a_requirement_that_is_not_installed_is_told(tree: Path) -> None:
    change(tree / "pigeon" / "integration.toml", '["whistle"]', '[]\nrequires = ["no-such"]')

    assert found_in(tree).integrations["pigeon"].missing == ("no-such",)
    assert codes(tree) == [("rule_broken", "manifest")]


def test_two_packages_cannot_have_one_key(tree: Path) -> None:
    points = [EntryPoint("pigeon", f"{name}:M", MEDIA_GROUP) for name in ("pigeon", "dove")]
    found = find_integrations(points, folder_of=lambda _: tree / "pigeon")

    assert [error.code for error in found.broken.values()] == ["key_doubled"]
    assert len(found.integrations) == 1


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('manifest = "done"\n', "", ("rule_missing", "manifest")),
        ('manifest = "done"', 'manifest = "done"\ncoos = "done"', ("rule_unknown", "coos")),
        ('comment = "a pigeon does"', 'comment = ""', ("comment_missing", "sends-again")),
        (f'proof = "{PROOF}" }}\nsends', "}\nsends", ("bad_quality", "")),
        (
            f'logged-first = {{ status = "done", proof = "{PROOF}" }}',
            'logged-first = "done"',
            ("proof_missing", "logged-first"),
        ),
        (
            f'logged-first = {{ status = "done", proof = "{PROOF}" }}',
            'logged-first = { status = "done", proof = "tests/test_pigeon.py::test_no" }',
            ("proof_not_there", "logged-first"),
        ),
        ('manifest = "done"', 'manifest = "todo"', ("quality_claimed", "quality")),
        ('manifest = "done"', 'manifest = "perhaps"', ("bad_quality", "manifest")),
        ('field-trial = "todo"', 'field-trial = "done"', ("comment_missing", "field-trial")),
        ("[decodes]", "[feathers]", ("bad_quality", "feathers")),
    ],
)
def test_what_a_scale_says_and_does_not_hold_is_told(
    tree: Path, old: str, new: str, finding: tuple[str, str]
) -> None:
    change(tree / "pigeon" / "QUALITY.toml", old, new)
    told = codes(tree)

    assert finding in told or (finding[1] == "" and told[0][0] == "file_unreadable")


def test_a_rule_that_a_machine_finds_broken_is_told(tree: Path) -> None:
    (tree / "pigeon" / "py.typed").unlink()
    (tree / "docs" / "pigeons.md").unlink()

    assert codes(tree) == [("rule_broken", "documented"), ("rule_broken", "typed")]
    assert ("rule_broken", "manifest") in codes(tree, {"manifest": "no"})


def test_a_rule_of_its_own_counts_like_the_others(tree: Path) -> None:
    own = '[own.returns]\nlevel = "decodes"\nsays = "It comes home."\nstatus = "todo"\n'
    path = tree / "pigeon" / "QUALITY.toml"
    path.write_text(path.read_text() + own)

    assert codes(tree) == [("quality_claimed", "quality")]
    change(path, 'status = "todo"\n', f'status = "done"\nproof = "{PROOF}"\n')
    assert codes(tree) == []


def test_a_rule_of_its_own_says_what_it_is() -> None:
    with pytest.raises(ConfigError, match="what the rule says"):
        read_scale({"own": {"returns": {"level": "decodes", "status": "done"}}})


def test_a_level_is_reached_with_all_those_below() -> None:
    marks: dict[str, Any] = {
        level: dict.fromkeys(rules, "done") for level, rules in RULES[read_manifest_kind()].items()
    }
    assert read_scale(marks).reached is Level.FIELD_PROVEN
    marks["commands"]["log-without-secrets"] = "todo"
    assert read_scale(marks).reached is Level.DECODES


def read_manifest_kind() -> Any:
    """The kind of the sample manifest."""
    import tomllib

    return read_manifest(tomllib.loads(MANIFEST)).kind
