"""Who may do what: principals, their API keys, their branches and what they did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, null, select, update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from slotmeter.storage.schema import METADATA

__all__ = ["READS", "UPDATES"]

act = METADATA.tables["act"]
api_key = METADATA.tables["api_key"]
branch = METADATA.tables["branch"]
principal = METADATA.tables["principal"]
utility = METADATA.tables["utility"]

PRINCIPALS_MAX = 1_000
ACTS_MAX = 500

_PRINCIPAL = (
    principal.c.id,
    principal.c.utility_id,
    principal.c.branch_id,
    principal.c.kind,
    principal.c.name,
    principal.c.roles,
    principal.c.disabled_us,
    principal.c.created_us,
    branch.c.code.label("branch_code"),
)
_PRINCIPALS = select(*_PRINCIPAL).join(branch, branch.c.id == principal.c.branch_id)

READS: dict[str, Select[Any]] = {
    # The one read that is not scoped by a utility: the key itself says which one it belongs to.
    "access_key": select(
        api_key.c.id.label("api_key_id"),
        api_key.c.label.label("key_label"),
        api_key.c.rights,
        api_key.c.expires_us,
        api_key.c.revoked_us,
        principal.c.id.label("principal_id"),
        principal.c.utility_id,
        principal.c.branch_id,
        principal.c.name,
        principal.c.kind,
        principal.c.roles,
        principal.c.disabled_us,
        utility.c.currency,
        utility.c.time_zone,
        utility.c.training,
    )
    .join(principal, principal.c.id == api_key.c.principal_id)
    .join(utility, utility.c.id == principal.c.utility_id)
    .where(api_key.c.sha256 == bindparam("sha256")),
    "access_branch": select(branch.c.id, branch.c.code, branch.c.name).where(
        branch.c.utility_id == bindparam("utility_id"), branch.c.code == bindparam("code")
    ),
    "access_principal": _PRINCIPALS.where(
        principal.c.utility_id == bindparam("utility_id"), principal.c.name == bindparam("name")
    ),
    "access_principals": _PRINCIPALS.where(principal.c.utility_id == bindparam("utility_id"))
    .order_by(principal.c.name)
    .limit(PRINCIPALS_MAX),
    "access_keys": select(
        api_key.c.id,
        api_key.c.label,
        api_key.c.rights,
        api_key.c.created_us,
        api_key.c.expires_us,
        api_key.c.revoked_us,
    )
    .where(
        api_key.c.utility_id == bindparam("utility_id"),
        api_key.c.principal_id == bindparam("principal_id"),
    )
    .order_by(api_key.c.id),
}

UPDATES: dict[str, UpdateBase] = {
    "access_disable": update(principal)
    .where(
        principal.c.utility_id == bindparam("of_utility"),
        principal.c.id == bindparam("of_principal"),
        principal.c.disabled_us.is_(None),
    )
    .values(disabled_us=bindparam("at_us")),
    "access_enable": update(principal)
    .where(
        principal.c.utility_id == bindparam("of_utility"),
        principal.c.id == bindparam("of_principal"),
        principal.c.disabled_us.is_not(None),
    )
    .values(disabled_us=null()),
    "access_revoke": update(api_key)
    .where(
        api_key.c.utility_id == bindparam("of_utility"),
        api_key.c.principal_id == bindparam("of_principal"),
        api_key.c.id == bindparam("of_key"),
        api_key.c.revoked_us.is_(None),
    )
    .values(revoked_us=bindparam("at_us")),
}
