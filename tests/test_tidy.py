"""The house rules that a linter cannot say, as tests that name the place at fault.

Every rule reads the files that git would commit, so a new file is under the rules at once.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "platform": ("slotmeter",),
    "drivers": ("slotmeter_drivers",),
    "nbiot": ("slotmeter_nbiot", "slotmeter_ip"),  # two media on IP networks: ADR 017
    "lorawan": ("slotmeter_lorawan",),
    "plc": ("slotmeter_plc",),
    "dashboards": ("slotmeter_dashboards",),
    "rules": ("slotmeter_rules",),
}
EACH_PACKAGE = [(root, package) for root, packages in PACKAGES.items() for package in packages]
OTHER_FOLDERS = {"tests", "benchmarks", "docs", ".ci"}
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "misc"}
MIGRATIONS = "platform/slotmeter/storage/migrations/versions"  # and what each dialect begins with
MIGRATIONS_LANDED = ROOT / "tests" / "fixtures" / "migrations.sha256"

# Written in two halves, so that this file does not hold what it looks for.
UNFINISHED = re.compile(
    "|".join([r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b", r"\bfor" r" now\b"])
)
NOT_DONE = "NotImplementedError"
MACHINE_PATH = re.compile(r"(?:^|[^a-z.~])/(?:wo" r"rk|ro" r"ot|ho" r"me|tmp/[a-z_]+jobs)/")
REGISTRY_HOST = re.compile(r"https?://[a-z.]*(?:py" r"pi|python" r"hosted|npm" r"js|deb" r"ian)\b")
SWITCHED_OFF_SILENTLY = re.compile(
    r"# ?(?:no"
    r"qa(?:: *[A-Z]+[0-9]+(?:,? *[A-Z]+[0-9]+)*)?"
    r"|type: ?ig"
    r"nore(?:\[[^\]]*\])?|pragma: no"
    r" cover) *$"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked_files() -> tuple[str, ...]:
    """Paths that git tracks or would track, as git writes them, without those deleted."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(sorted({path for path in listing.stdout.split("\0") if (ROOT / path).is_file()}))


def expect_none(places: list[str]) -> None:
    """Fail with one place a line, without a traceback: the place is all there is to know."""
    if places:
        pytest.fail("\n".join(places), pytrace=False)


def python_files(*folders: str) -> list[str]:
    return [
        path
        for path in tracked_files()
        if path.endswith(".py") and (not folders or path.startswith(folders))
    ]


def product_files() -> list[str]:
    return python_files(*(f"{root}/{package}/" for root, package in EACH_PACKAGE))


def sized_files() -> list[str]:
    """Files under the size rules: all but migrations, which Alembic writes and nobody edits."""
    return [path for path in python_files() if not path.startswith(MIGRATIONS)]


@cache
def text_of(path: str) -> str:
    """The file's text; empty for a file that is not text, such as a picture."""
    content = (ROOT / path).read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8")


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(text_of(path), filename=path)


def functions_of(path: str) -> Iterator[Function]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def lines_matching(pattern: re.Pattern[str], paths: list[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if pattern.search(line)
    ]


@cache
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(text_of("pyproject.toml"))["project"]
    return table


# --- the layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "packages"), PACKAGES.items(), ids=PACKAGES)
def test_a_source_root_holds_its_packages_and_at_most_a_readme(
    root: str, packages: tuple[str, ...]
) -> None:
    directly_inside = {
        path.split("/")[1] for path in tracked_files() if path.startswith(f"{root}/")
    }

    assert directly_inside - {"README.md"} == set(packages)


def test_the_top_folders_are_the_seven_roots_and_four_more() -> None:
    folders = {path.split("/")[0] for path in tracked_files() if "/" in path}

    assert folders - OTHER_FOLDERS == set(PACKAGES)


def test_no_python_file_lies_loose_at_the_top() -> None:
    expect_none([path for path in python_files() if "/" not in path])


@pytest.mark.parametrize(("root", "package"), EACH_PACKAGE)
def test_a_package_tells_type_checkers_that_it_is_typed(root: str, package: str) -> None:
    assert f"{root}/{package}/py.typed" in tracked_files()


def test_every_folder_of_a_package_is_a_package_with_a_docstring() -> None:
    folders = {path.rpartition("/")[0] for path in product_files()}
    silent = [
        folder
        for folder in sorted(folders)
        if not folder.startswith(MIGRATIONS.removesuffix("/versions"))
        and (
            f"{folder}/__init__.py" not in tracked_files()
            or not ast.get_docstring(tree_of(f"{folder}/__init__.py"))
        )
    ]

    expect_none(silent)


def files_of_tests() -> list[str]:
    """All but the packs of third parties that tests install: those are packages."""
    return [path for path in python_files("tests/") if path.count("/") < 3]


def test_no_folder_of_tests_is_a_package() -> None:
    expect_none([path for path in files_of_tests() if path.endswith("__init__.py")])


def test_no_two_test_modules_share_a_name() -> None:
    names = [path.rpartition("/")[2] for path in files_of_tests()]

    expect_none(sorted({name for name in names if names.count(name) > 1} - {"conftest.py"}))


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_names = [
        path for path in python_files() if NAMES_THAT_SAY_NOTHING & set(re.split(r"[/.]", path))
    ]

    expect_none(empty_names)


# --- size, words and values -------------------------------------------------------------------


def test_functions_are_at_most_60_lines_without_their_docstring() -> None:
    long = [
        f"{path}:{function.lineno} {function.name}: {code_lines(function)} lines"
        for path in sized_files()
        for function in functions_of(path)
        if code_lines(function) > FUNCTION_LINES_MAX
    ]

    expect_none(long)


def test_modules_are_at_most_500_lines() -> None:
    lines = {path: len(text_of(path).splitlines()) for path in sized_files()}
    long = [f"{path}: {count} lines" for path, count in lines.items() if count > MODULE_LINES_MAX]

    expect_none(long)


def test_money_code_knows_no_floating_point() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in [*python_files("platform/slotmeter/vending/"), "platform/slotmeter/units.py"]
        if path in tracked_files()
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Attribute) and node.attr.startswith("float"))
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
    ]

    expect_none(found)


def test_no_file_says_that_it_is_unfinished() -> None:
    expect_none(lines_matching(UNFINISHED, list(tracked_files())))


def test_no_product_code_raises_that_it_is_not_written() -> None:
    expect_none(lines_matching(re.compile(NOT_DONE), product_files()))


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    expect_none(lines_matching(MACHINE_PATH, list(tracked_files())))


def test_no_file_names_a_package_registry_by_address() -> None:
    expect_none(lines_matching(REGISTRY_HOST, list(tracked_files())))


def test_a_check_switched_off_gives_its_reason_on_the_line() -> None:
    expect_none(lines_matching(SWITCHED_OFF_SILENTLY, python_files()))


def test_programs_and_test_modules_open_by_saying_what_they_are_for() -> None:
    silent = [
        path
        for path in python_files("tests/", "benchmarks/", MIGRATIONS)
        if not ast.get_docstring(tree_of(path))
    ]

    expect_none(silent)


# --- what is pinned ---------------------------------------------------------------------------


def pinned_versions() -> dict[str, Version]:
    pins = (line.split("==") for line in text_of("constraints.txt").splitlines())
    return {canonicalize_name(name): Version(version) for name, version in pins}


def declared_requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    declared = [*project()["dependencies"], *(line for extra in extras for line in extra)]
    return [each for each in map(Requirement, declared) if each.name != project()["name"]]


def test_constraints_hold_names_and_versions_only() -> None:
    lines = text_of("constraints.txt").splitlines()

    expect_none([line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[0-9a-z.+!]+", line)])


def test_every_declared_dependency_is_pinned_within_its_bounds() -> None:
    pins = pinned_versions()
    unmet = [
        str(requirement)
        for requirement in declared_requirements()
        if (name := canonicalize_name(requirement.name)) not in pins
        or not requirement.specifier.contains(pins[name])
    ]

    expect_none(unmet)


def migrations_landed() -> dict[str, str]:
    """File name to SHA-256 of every migration that was ever given to a user."""
    if not MIGRATIONS_LANDED.exists():
        return {}
    lines = (line.split() for line in MIGRATIONS_LANDED.read_text().splitlines())
    return {name: digest for digest, name in lines}


def migrations_present() -> dict[str, str]:
    """File name to SHA-256 of every migration in the tree."""
    return {
        path.rpartition("/")[2]: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        for path in python_files(MIGRATIONS)
    }


def test_a_migration_that_landed_is_never_changed_or_removed() -> None:
    present = migrations_present()

    assert {name: present.get(name) for name in migrations_landed()} == migrations_landed()


# --- what a newcomer is told --------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_make_command_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text_of(page), flags=re.MULTILINE))

    expect_none(sorted(named - make_targets()))


def test_the_readme_gives_the_apt_line_and_the_two_commands() -> None:
    readme = text_of("README.md")

    assert "apt install git make python3 python3-venv" in readme
    assert {"make demo", "make test"} <= set(re.findall(r"^make \w+", readme, flags=re.MULTILINE))


def pages() -> list[str]:
    return [path for path in tracked_files() if path.endswith(".md")]


def test_links_between_pages_lead_to_files_that_exist() -> None:
    broken = [
        f"{page}: {target}"
        for page in pages()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
        if "://" not in target and not target.startswith("mailto:")
        if not (ROOT / page).parent.joinpath(target).exists()
    ]

    expect_none(broken)
