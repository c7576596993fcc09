"""From rows to the facts that a cut is decided on."""

from __future__ import annotations

from slotmeter.ports import From, Read, Row, Rows
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import CutFacts
from slotmeter.services.protection import readable_policy
from slotmeter.units import DAY_US, HOUR_US

__all__ = ["balance_of", "cut_facts", "fact_reads", "paid_us_of"]

CUT_ROWS_SINCE_US = 30 * DAY_US
"""Commands made before are not looked at when the cuts of an hour are counted."""

NO_COMMAND = 0
"""No command has this id."""


def fact_reads(
    utility_id: int | From, meter_id: int | From, now_us: int, *, but_id: int = NO_COMMAND
) -> list[Read]:
    """Return the reads that :func:`cut_facts` needs.

    Args:
        utility_id: whose meter.
        meter_id: the meter.
        now_us: our clock.
        but_id: a command that does not count among the cuts of the hour: the one being decided.
    """
    return [
        Read(
            "control_facts",
            {"utility_id": utility_id, "meter_id": meter_id, "now_us": now_us},
            "facts",
        ),
        Read(
            "control_cuts",
            {
                "utility_id": utility_id,
                "created_since_us": now_us - CUT_ROWS_SINCE_US,
                "sent_since_us": now_us - HOUR_US,
                "but_id": but_id,
            },
            "cuts",
        ),
    ]


def balance_of(row: Row) -> int | None:
    """Return the credit left in the unit it is held in; None when it is not known.

    A ledger account that was never moved holds nothing, and that is known.
    """
    if row["credit_mode"] == "platform":
        if row["account_id"] is None:
            return None
        # Liabilities are credit balances: negative in the ledger means the customer has money.
        ledger_minor: int | None = row["ledger_minor"]
        return -(ledger_minor or 0)
    held: int | None = row["credit_balance"]
    return held


def paid_us_of(row: Row) -> int | None:
    """Return the newest payment for a meter, or for its account where the platform holds credit."""
    times = [row["paid_by_sale_us"]]
    if row["credit_mode"] == "platform":
        times.append(row["paid_to_account_us"])
    return max((at_us for at_us in times if at_us is not None), default=None)


def cut_facts(
    rows: Rows,
    cause: CommandCause,
    *,
    now_us: int,
    confirmed: bool = False,
    safety: bool = False,
) -> CutFacts:
    """Gather what is known of one meter that exists."""
    row = rows["facts"][0]
    return CutFacts(
        meter_id=row["meter_id"],
        now_us=now_us,
        time_zone=row["time_zone"],
        policy=readable_policy(row["policy"]),
        installed=row["account_id"] is not None,
        measured_us=row["measured_us"],
        received_us=row["received_us"],
        critical_until_us=row["critical_until_us"],
        balance=balance_of(row),
        noticed_us=row["noticed_us"],
        paid_us=paid_us_of(row),
        cuts_last_hour=rows["cuts"][0]["cuts"],
        cause=cause,
        confirmed=confirmed,
        safety=safety,
    )
