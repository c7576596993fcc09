"""Integrations: packages that bring media or drivers, each with a manifest and a quality scale.

A package is found by its entry points (``slotmeter.media``, ``slotmeter.drivers``). Its manifest is
read from the files beside its code and nothing of it is imported, so that one that cannot be loaded
can still be listed. See ``docs/reference/integrations.md``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from slotmeter.errors import ConfigError
from slotmeter.services.driver_packs import DRIVER_GROUP

__all__ = [
    "MANIFEST_FILE",
    "MEDIA_GROUP",
    "FoundIntegrations",
    "Integration",
    "IntegrationKind",
    "Level",
    "Manifest",
    "find_integrations",
    "read_manifest",
    "read_toml",
]

E = TypeVar("E", bound=StrEnum)

MEDIA_GROUP: Final = "slotmeter.media"
MANIFEST_FILE: Final = "integration.toml"
FILE_BYTES_MAX: Final = 65_536


class IntegrationKind(StrEnum):
    """What an integration brings."""

    MEDIUM = "medium"
    DRIVERS = "drivers"


class Level(StrEnum):
    """The ladder of quality, from the bottom up."""

    NONE = "none"
    DECODES = "decodes"
    COMMANDS = "commands"
    FIELD_PROVEN = "field-proven"


IOT_CLASSES: Final = {
    IntegrationKind.MEDIUM: ("local_push", "local_polling", "cloud_push", "cloud_polling"),
    IntegrationKind.DRIVERS: ("none",),
}
"""How devices are reached; a pack of drivers reaches none."""

_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OPTION: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){1,3}([a-z0-9.+-]*)")
_OWNER: Final = re.compile(r"@[A-Za-z0-9_/-]+|[^@\s]+@[^@\s]+")
_NAME_CHARACTERS_MAX: Final = 80
_TEXTS: Final = ("key", "kind", "name", "version", "iot_class", "documentation", "quality")
_LISTS: Final = ("requires", "codeowners", "secrets", "options")
_OPTIONAL: Final = frozenset({"requires", "secrets", "options"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package says of itself.

    Args:
        key: of the medium, or a name for the pack.
        kind: what it brings.
        name: for people.
        version: its own.
        iot_class: how its devices are reached.
        documentation: a page: a path in the source tree, or an address.
        codeowners: who answers for it.
        quality: the level that it claims.
        requires: names of distributions that it needs.
        secrets: names of options that are secret; they are kept sealed and never shown.
        options: names of the other options; None for a package that does not say.
    """

    key: str
    kind: IntegrationKind
    name: str
    version: str
    iot_class: str
    documentation: str
    codeowners: tuple[str, ...]
    quality: Level
    requires: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    options: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Integration:
    """An installed integration.

    Args:
        manifest: what it says of itself.
        package: its import name.
        folder: where its files are.
        missing: required distributions that are not installed.
    """

    manifest: Manifest
    package: str
    folder: Path
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundIntegrations:
    """What is installed.

    Args:
        integrations: by key.
        broken: package name to the fault of its manifest.
        media: keys of all media, also of those whose manifest cannot be read.
    """

    integrations: Mapping[str, Integration]
    broken: Mapping[str, ConfigError] = field(default_factory=lambda: MappingProxyType({}))
    media: frozenset[str] = frozenset()

    def secrets_of(self, medium: str) -> tuple[str, ...]:
        """Return the names of the options of a medium that are secret."""
        found = self.integrations.get(medium)
        return () if found is None else found.manifest.secrets

    def options_of(self, medium: str) -> tuple[str, ...] | None:
        """Return the names of the options of a medium; None when nobody but itself knows them."""
        found = self.integrations.get(medium)
        return None if found is None else found.manifest.options


def find_integrations(
    points: Iterable[EntryPoint] | None = None,
    *,
    folder_of: Callable[[str], Path | None] | None = None,
) -> FoundIntegrations:
    """Return every installed integration; one with a bad manifest is told apart.

    Args:
        points: entry points to look at; those of the environment by default.
        folder_of: returns the folder of a package, or None.
    """
    if points is None:
        points = [*entry_points(group=MEDIA_GROUP), *entry_points(group=DRIVER_GROUP)]
    known: dict[str, Integration] = {}
    broken: dict[str, ConfigError] = {}
    media: set[str] = set()
    for point in sorted(set(points), key=lambda point: (point.group != MEDIA_GROUP, point.name)):
        package = point.value.partition(":")[0].partition(".")[0]
        if point.group == MEDIA_GROUP:
            media.add(point.name)
        try:
            found = _integration(point, package, (folder_of or _folder)(package))
            if found.manifest.key in known:
                other = known[found.manifest.key].package
                raise _fault("key_doubled", f"{other} has the same key", "key")
        except ConfigError as error:
            broken[package] = error
        else:
            known[found.manifest.key] = found
    return FoundIntegrations(
        MappingProxyType(dict(sorted(known.items()))), MappingProxyType(broken), frozenset(media)
    )


def _integration(point: EntryPoint, package: str, folder: Path | None) -> Integration:
    if folder is None:
        raise _fault("package_missing", f"the package {package} is not there", "package")
    manifest = read_manifest(read_toml(folder / MANIFEST_FILE))
    is_medium = point.group == MEDIA_GROUP
    wanted = IntegrationKind.MEDIUM if is_medium else IntegrationKind.DRIVERS
    if manifest.kind is not wanted:
        raise _fault("kind_differs", f"its entry point is of the group {point.group}", "kind")
    if is_medium and manifest.key != point.name:
        raise _fault("key_differs", f"its entry point is called {point.name!r}", "key")
    missing = tuple(name for name in manifest.requires if not _installed(name))
    return Integration(manifest, package, folder, missing)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a small TOML file.

    Raises:
        ConfigError: ``file_missing`` or ``file_unreadable``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"it is larger than {FILE_BYTES_MAX} bytes")
        return tomllib.loads(content.decode())
    except FileNotFoundError as error:
        raise _fault("file_missing", "write one: docs/reference/integrations.md", path.name) from (
            error
        )
    except (OSError, ValueError) as error:
        raise _fault("file_unreadable", str(error), path.name) from error


def read_manifest(document: Mapping[str, Any]) -> Manifest:
    """Check a manifest whole.

    Raises:
        ConfigError: ``unknown_field``, ``field_missing`` or ``bad_field``; ``field`` names it.
    """
    for name in document:
        if name not in (*_TEXTS, *_LISTS):
            raise _fault("unknown_field", f"there are {', '.join((*_TEXTS, *_LISTS))}", name)
    for name in (*_TEXTS, *_LISTS):
        if name not in document and name not in _OPTIONAL:
            raise _fault("field_missing", "every manifest has it", name)
    texts = {name: _text(document[name], name) for name in _TEXTS}
    lists = {name: _texts(document.get(name, []), name) for name in _LISTS}
    _check_form(texts, lists)
    kind = _one_of(IntegrationKind, texts["kind"], "kind")
    if texts["iot_class"] not in IOT_CLASSES[kind]:
        raise _bad(f"one of {', '.join(IOT_CLASSES[kind])}", texts["iot_class"], "iot_class")
    return Manifest(
        key=texts["key"],
        kind=kind,
        name=texts["name"],
        version=texts["version"],
        iot_class=texts["iot_class"],
        documentation=texts["documentation"],
        codeowners=lists["codeowners"],
        quality=_one_of(Level, texts["quality"], "quality"),
        requires=lists["requires"],
        secrets=lists["secrets"],
        options=lists["options"] if "options" in document else None,
    )


def _check_form(texts: Mapping[str, str], lists: Mapping[str, tuple[str, ...]]) -> None:
    if _KEY.fullmatch(texts["key"]) is None:
        raise _bad("up to 32 of a-z, 0-9 and _, a letter first", texts["key"], "key")
    if not 1 <= len(texts["name"].strip()) <= _NAME_CHARACTERS_MAX:
        raise _bad(f"1 to {_NAME_CHARACTERS_MAX} characters", texts["name"], "name")
    if _VERSION.fullmatch(texts["version"]) is None:
        raise _bad("a version such as 1.2.0", texts["version"], "version")
    page = texts["documentation"]
    if not page.startswith(("https://", "docs/")):
        raise _bad("an https address, or a page below docs/", page, "documentation")
    if not lists["codeowners"]:
        raise _bad("somebody who answers for it", "nobody", "codeowners")
    for owner in lists["codeowners"]:
        if _OWNER.fullmatch(owner) is None:
            raise _bad("@name, @group/name or an address of mail", owner, "codeowners")
    _check_options(lists["secrets"], lists["options"])


def _check_options(secrets: tuple[str, ...], options: tuple[str, ...]) -> None:
    for what, names in (("secrets", secrets), ("options", options)):
        for name in names:
            if _OPTION.fullmatch(name) is None:
                raise _bad("names of options", name, what)
    for name in options:
        if name in secrets:
            raise _bad("options that are no secrets", name, "options")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _bad("text", type(value).__name__, name)
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _bad("a list of texts", type(value).__name__, name)
    return tuple(value)


def _one_of(kind: type[E], text: str, name: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise _bad(f"one of {', '.join(kind)}", text, name) from None


def _bad(expected: str, got: str, name: str) -> ConfigError:
    return _fault("bad_field", f"expected {expected}, got {got[:60]!r}", name)


def _fault(code: str, sentence: str, name: str) -> ConfigError:
    return ConfigError(code, sentence, field=name)


def _folder(package: str) -> Path | None:
    """Return where a package is, without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
