"""A sale to a meter whose key is being changed: the set of tokens first, then credit under the new
key (IEC 62055-41).

The set comes with every sale until the change is proven. Its digits are a pure function of both
keys, so that each of these sales lists the same ones; a meter that took them refuses them from then
on, and they cost nobody anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slotmeter.ports import NewId, Row, SecurityModule, Step
from slotmeter.services.key_change_steps import KEY_CHANGE, NewChange
from slotmeter.services.key_wanted import wanted_of
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.vending.sts import IssuedToken

__all__ = ["KEY_CHANGE", "SaleChange", "change_with_sale", "make_set"]


@dataclass(frozen=True, slots=True)
class SaleChange:
    """What a change of key adds to the first commit of a sale.

    Args:
        row: the row of the read ``meter_for_sale``, as the meter will be coded.
        tokens: rows of the set, reserved with the sale.
        steps: what begins the change, if this sale does.
        links: what says that these tokens are its set; after the rows of the tokens.
        said: what makes the set again, kept with what the receipt prints.
    """

    row: Row
    tokens: list[dict[str, Any]]
    steps: list[Step]
    links: list[Step]
    said: Mapping[str, Any]


def change_with_sale(
    row: Row, sale_row_id: int, utility_id: int, new_id: NewId, *, now_us: int
) -> SaleChange | None:
    """Return what a sale to this meter does about its key; None when the key stays as it is.

    Args:
        row: of the read ``meter_for_sale``.
        sale_row_id: the sale.
        utility_id: whose meter it is.
        new_id: the unit's source of ids.
        now_us: our clock.
    """
    wanted = wanted_of(row["wanted"])
    if wanted is None:
        return None
    meter = {**row, "id": row["meter_id"], "utility_id": utility_id}
    change_id = wanted.change_id or new_id()
    change = NewChange(change_id, meter, wanted, now_us)
    tokens = change.token_rows(new_id, sale_row_id=sale_row_id)
    steps: list[Step] = []
    links: list[Step] = []
    if not wanted.is_made:
        steps, links = change.steps(), change.link_steps(tokens, new_id)
    coding = wanted.coding
    said = {
        "id": change_id,
        "from_key_id": row["key_id"],
        "from_parameters": row["parameters"],
        "to_key_id": coding.key_id,
        "to_parameters": coding.text,
        "three_tokens": wanted.three_tokens,
    }
    new_row = {**row, "key_id": coding.key_id, "parameters": coding.text}
    return SaleChange(new_row, tokens, steps, links, said)


async def make_set(security: SecurityModule, said: Mapping[str, Any]) -> tuple[IssuedToken, ...]:
    """Make the set of a change again, in the order of typing.

    Args:
        security: holds both vending keys.
        said: as :class:`SaleChange` keeps it.

    Raises:
        NotFound, Refused, Unavailable: as ``SecurityModule.change_key``.
    """
    return await security.change_key(
        (said["from_key_id"], stored_parameters(said["from_parameters"])),
        (said["to_key_id"], stored_parameters(said["to_parameters"])),
        three_tokens=said["three_tokens"],
    )
