"""The page of the HTTP API names every path, right and code that there is, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from slotmeter.api.problems import HTTP_CODES, VALIDATION_CODES
from slotmeter.api.routes import ROUTES, Route
from slotmeter.services.access import ROLES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "http-api.md").read_text()
PLATFORM = ROOT / "platform" / "slotmeter"
ERRORS = {
    "BadRequest",
    "Conflict",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "Refused",
    "TooMany",
    "Unavailable",
}
REACHED = (
    *sorted((PLATFORM / "api").glob("*.py")),
    *(
        PLATFORM / "services" / f"{name}.py"
        for name in (
            "access",
            "areas",
            "bearers",
            "bindings",
            "keypads",
            "lifecycle",
            "account_lookup",
            "class_review",
            "class_rules",
            "classes",
            "command_requests",
            "commissioning",
            "commissioning_rows",
            "credit_terms",
            "account_blocks",
            "debt_interest",
            "debt_making",
            "debt_reports",
            "debt_terms",
            "debts",
            "device_health",
            "quarantine",
            "device_keys",
            "device_proofs",
            "entries",
            "entry_rows",
            "commission",
            "float_accounts",
            "free_units",
            "vending_keys",
            "campaign_sets",
            "campaign_terms",
            "campaigns",
            "guarded_acts",
            "key_change_plan",
            "key_changes",
            "key_replacements",
            "management_kinds",
            "management_tokens",
            "training",
            "supply_groups",
            "journal_export",
            "meter_swap",
            "operations",
            "period_close",
            "pricing",
            "queries",
            "refunds",
            "replacement",
            "reversal",
            "sale_begin",
            "sale_issue",
            "selling",
            "settlement",
            "settlement_meters",
            "unpriced",
            "tariff_admin",
            "tariff_approval",
            "tariff_draft",
            "tariff_preview",
            "tariff_prices",
        )
    ),
    PLATFORM / "storage" / "database.py",
    *sorted((PLATFORM / "storage").glob("postgres_*.py")),
    PLATFORM / "storage" / "readings_embedded.py",
    PLATFORM / "storage" / "sqlite_unit.py",
    PLATFORM / "units.py",
    PLATFORM / "vending" / "accounts.py",
    *(
        PLATFORM / "vending" / "pricing" / f"{name}.py"
        for name in ("chosen", "fixed", "limits", "refusals")
    ),
)
"""Modules whose refusals reach a caller of the API."""

RAISED_THROUGH = {
    *("sale_unknown", "receipt_unknown"),
    *("bad_drn", "wrong_check_digit"),
    *("key_change_needed", "key_expired", "before_base_date", "three_tokens_are_for_ea07"),
    *("tariff_invalid", "commodity_changed", "tax_number_missing"),
    *("holiday_calendar_ends", "warnings_not_accepted"),
    *("bad_kind", "no_price_in_force"),
    "database_connections",
    "secret_unreadable",
}
"""Codes that these modules hand on from elsewhere, or take as an argument."""

NOT_REACHED = {
    *("actor_missing", "recovery_incomplete"),
    *("bad_component", "component_there", "component_differs", "components_equal"),
    "two_officers_needed",
    *("backup_failed", "database_not_empty", "restore_of_another"),
}
"""Codes of these modules that only the server itself meets, or the command line."""

OWN_MODEL_CODES = {"amount_is_float", "not_json", "not_text"}


def codes_raised(path: Path) -> set[str]:
    """The codes that a module raises, where they are written out."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ERRORS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def codes_that_exist() -> set[str]:
    raised = {code for path in REACHED for code in codes_raised(path)} - NOT_REACHED
    http = {code for code, _ in HTTP_CODES.values()}
    return (
        raised
        | http
        | set(VALIDATION_CODES.values())
        | RAISED_THROUGH
        | OWN_MODEL_CODES
        | {"not_json"}
    )


def codes_on_the_page() -> set[str]:
    problems = PAGE[PAGE.index("## Problems") :]
    rows = [line.split("|")[1] for line in problems.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`(\w+)`", row)}


def test_every_code_is_on_the_page() -> None:
    assert codes_that_exist() - codes_on_the_page() == set()


def test_the_page_names_no_code_that_does_not_exist() -> None:
    assert codes_on_the_page() - codes_that_exist() == set()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_path_is_on_the_page_with_its_rights(route: Route) -> None:
    (row,) = [line for line in PAGE.splitlines() if f"| `{route.method} {route.path}` |" in line]
    named = set(re.findall(r"`([a-z.]+)`", row.split("|")[2]))

    assert named == {right.value for right in route.rights or ()}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_on_the_page(role: str) -> None:
    assert re.search(rf"^\| .*`{role}`.*\|", PAGE, flags=re.MULTILINE)
