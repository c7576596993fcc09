"""The rows of commissioning: claims, the device of a meter, and what it sent before; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import Insert, NewId, Read, Row, Rows, SqlValue, Step, Update
from slotmeter.services.access import Origin, act_row
from slotmeter.services.commissioning_match import Claim
from slotmeter.services.driver_recognition import SCAN_CHARACTERS_MAX, Heard, Scan
from slotmeter.services.events import Event, event_step
from slotmeter.services.parked_addresses import is_parked

__all__ = [
    "KIND",
    "Wish",
    "check_wish",
    "claim_read",
    "claim_step",
    "claims_of",
    "meter_numbers",
    "meter_read",
    "register_steps",
    "registered_claim",
]

KIND: Final[Mapping[str, SqlValue]] = {"entry_key": "slotmeter:commissioning", "kind": "claim"}
"""Where claims are kept; the colon keeps them apart from every integration."""

NUMBERS_MAX: Final = 40
FIELD_CHARACTERS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker scans or types.

    Args:
        scan: the text of the label, or a number.
        meter: the meter's number, when the label does not hold it.
        medium: on which it speaks, when that must be chosen.
        address: at which it speaks, when that must be chosen or is known beforehand.
        driver: when that must be chosen or is known beforehand.
    """

    scan: str
    meter: str | None = None
    medium: str | None = None
    address: str | None = None
    driver: str | None = None


def check_wish(wish: Wish) -> None:
    """Refuse what no label holds.

    Raises:
        Refused: ``scan_malformed`` or ``field_malformed``.
    """
    text = wish.scan.strip()
    if not text or len(text) > SCAN_CHARACTERS_MAX or not text.isprintable():
        raise Refused(
            "scan_malformed",
            f"expected the text of a label, 1 to {SCAN_CHARACTERS_MAX} characters on one line",
            field="scan",
        )
    for name in ("meter", "medium", "address", "driver"):
        value = getattr(wish, name)
        if value is not None and not (
            0 < len(value) <= FIELD_CHARACTERS_MAX and value.isprintable()
        ):
            raise Refused(
                "field_malformed",
                f"expected 1 to {FIELD_CHARACTERS_MAX} characters on one line",
                field=name,
            )
    if wish.address is not None and is_parked(wish.address):
        raise Refused(
            "field_malformed",
            "addresses that begin so belong to meters that a node speaks for",
            field="address",
        )


def meter_numbers(scan: str) -> list[str]:
    """Return what on a label may be the number of a meter."""
    text = scan.strip()
    return sorted({text, *Scan.of(text).identifiers})[:NUMBERS_MAX]


def meter_read(utility_id: int, number: str, key: str = "meter") -> Read:
    """Return the read of a meter and its device."""
    of: dict[str, SqlValue] = {"utility_id": utility_id, "number": number}
    return Read("commissioning_meter", of, key)


def claim_read(utility_id: int, number: str) -> Read:
    """Return the read of a meter's claim."""
    return Read("plugin_record", {**KIND, "name": _name(utility_id, number)}, "record")


def claims_of(rows: Sequence[Row]) -> list[tuple[int, Claim]]:
    """Return claims with their utilities."""
    return [(int(row["name"].partition(":")[0]), Claim.of_body(row["body"])) for row in rows]


def claim_step(utility_id: int, claim: Claim, now_us: int, rows: Rows, new_id: NewId) -> Step:
    """Write a claim, whether there is one already or not."""
    columns: dict[str, SqlValue] = {
        "body": claim.to_body(),
        "i1": f"{utility_id}:{claim.state}",
        "i2": str(utility_id),
        "i3": "waiting" if claim.is_open else None,
        "at_us": now_us,
    }
    name = _name(utility_id, claim.meter)
    if not rows["record"]:
        return Insert("plugin_record", {"id": new_id(), **KIND, "name": name, **columns})
    of: dict[str, SqlValue] = {
        "of_entry": KIND["entry_key"],
        "of_kind": KIND["kind"],
        "of_name": name,
    }
    to = {f"to_{column}": value for column, value in columns.items()}
    return Update("plugin_record_put", {**of, **to})


def register_steps(
    utility_id: int,
    meter: Row,
    done: Claim,
    frames: Sequence[tuple[Heard, int]],
    rows: Rows,
    new_id: NewId,
) -> list[Step]:
    """Return what registers the device of a meter, and lets what it sent before take effect.

    Args:
        utility_id: whose meter it is.
        meter: its row.
        done: its claim, with the device.
        frames: what it sent, the oldest first, each with the id of its copy in the log.
        rows: of :func:`claim_read`.
        new_id: the unit's source of ids.
    """
    now_us = done.done_us or 0
    device: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": utility_id,
        "meter_id": meter["id"],
        "medium": done.medium,
        "address": done.address,
        "driver": done.driver,
        "supply": "unknown",
        "tamper": 0,
        "created_us": now_us,
    }
    facts = {"driver": done.driver, "medium": done.medium, "address": done.address}
    origin = Origin(done.by_address, done.by_request, done.principal_id, done.by_key_id)
    act = act_row(
        new_id,
        origin,
        utility_id,
        now_us,
        what="meter.commission",
        subject=done.meter,
        reason=done.reason,
        data={**facts, "scan": done.scan, "frames": len(frames)},
    )
    event = Event(
        utility_id=utility_id,
        at_us=now_us,
        kind="meter_commissioned",
        text=f"The meter is commissioned: {done.driver} on {done.medium} at {done.address}",
        meter_id=meter["id"],
        data=facts,
    )
    steps: list[Step] = [Insert("device", device)]
    for frame, frame_id in frames:
        steps += _again(frame, frame_id, now_us)
    return [
        *steps,
        claim_step(utility_id, done, now_us, rows, new_id),
        act,
        event_step(event, new_id),
    ]


def registered_claim(wish: Wish, meter: Row, known: Claim | None, new: Claim) -> Claim:
    """Return the claim of a meter that has a device already.

    Raises:
        Conflict: ``meter_has_device``: another one than the label says, or one that nobody hears.
    """
    if is_parked(meter["address"]) and meter["node_id"] is None:
        raise Conflict(
            "meter_has_device",
            f"meter {meter['number']} was taken from the node that spoke for it, and nothing is "
            "heard from it; change its bearer, or bind it to a slot",
        )
    for name, value in (("medium", wish.medium), ("address", wish.address)):
        if value is not None and value != meter[name]:
            raise Conflict(
                "meter_has_device",
                f"meter {meter['number']} has a device already, on {meter['medium']} at "
                f"{meter['address']}; change its bearer instead",
                field=name,
            )
    if known is not None and known.state == "done":
        return known
    return Claim(
        meter=new.meter,
        commodity=new.commodity,
        scan=new.scan,
        state="done",
        principal_id=new.principal_id,
        reason=new.reason,
        at_us=new.at_us,
        medium=meter["medium"],
        address=meter["address"],
        driver=meter["driver"],
        done_us=new.at_us,
        by=new.by,
    )


def _name(utility_id: int, number: str) -> str:
    return f"{utility_id}:{number}"


def _again(frame: Heard, frame_id: int, now_us: int) -> list[Step]:
    """Log a frame once more, now that somebody reads it, and note that it was."""
    row: dict[str, SqlValue] = {
        "id": frame_id,
        "medium": frame.medium,
        "address": frame.address,
        "path": frame.path,
        "payload": frame.payload,
        "received_us": frame.received_us,
        "entry_id": frame.entry_id,
    }
    replayed: dict[str, SqlValue] = {"of_frame": frame.frame_id, "to_us": now_us}
    return [Insert("frame", row), Update("commissioning_replayed", replayed)]
