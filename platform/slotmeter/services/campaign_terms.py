"""What a campaign of key changes takes and shows; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import Row
from slotmeter.services.tid_allocator import stored_parameters

__all__ = ["HOWS", "CampaignWish", "Progress", "Selection", "check_wish", "place_of"]

HOWS: Final = ("deliver", "with_sale")
"""How the sets reach the meters: made now, sent or printed; or made by each meter's next sale."""

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class CampaignWish:
    """A campaign.

    Args:
        code: its name, unique in the utility.
        key_id: the vending key that the meters shall be on.
        tariff_index: 0 to 99; None leaves each meter its own.
        three_tokens: EA07: sets of three.
        how: one of :data:`HOWS`.
    """

    code: str
    key_id: str
    tariff_index: int | None = None
    three_tokens: bool = False
    how: str = HOWS[0]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which meters; None matches all. ``numbers`` names them one by one instead.

    Args:
        key_id: the vending key that they are on.
        base_date: year.
        sgc: supply group code.
        krn: key revision.
        commodity: what they meter.
        area: the area itself or what is below it, as Town/North.
        numbers: meter numbers.
    """

    key_id: str | None = None
    base_date: int | None = None
    sgc: str | None = None
    krn: int | None = None
    commodity: str | None = None
    area: str | None = None
    numbers: Sequence[str] | None = None

    def takes(self, row: Row) -> bool:
        """Say whether the parameters of a meter match."""
        parameters = stored_parameters(row["parameters"])
        wanted = {"base_date": self.base_date, "sgc": self.sgc, "krn": self.krn}
        return all(
            value is None or getattr(parameters, name) == value for name, value in wanted.items()
        )

    @property
    def like(self) -> str:
        """The pattern of areas."""
        if self.area is None:
            return "%"
        text = self.area.strip("/")
        for special in ("\\", "%", "_"):
            text = text.replace(special, "\\" + special)
        return f"{text}/%"


@dataclass(frozen=True, slots=True)
class Progress:
    """How many meters are where.

    Args:
        selected: nothing was done yet.
        with_sale: the next sale makes the set.
        waiting: the set was made; its proof is awaited.
        proven: the meter has its new key.
        cancelled: the change was undone.
        failed: no set could be made.
        nothing_to_do: the meter had the key already.
    """

    selected: int = 0
    with_sale: int = 0
    waiting: int = 0
    proven: int = 0
    cancelled: int = 0
    failed: int = 0
    nothing_to_do: int = 0

    @property
    def meters(self) -> int:
        """All of them."""
        ended = self.proven + self.cancelled + self.failed + self.nothing_to_do
        return self.selected + self.with_sale + self.waiting + ended


def place_of(state: str, change_state: str) -> str:
    """Return the field of :class:`Progress` that a meter counts for."""
    if state != "made":
        return state
    if change_state == "none":
        return "with_sale"
    return "waiting" if change_state == "open" else change_state


def check_wish(wish: CampaignWish, present: Row | None) -> None:
    """Refuse a campaign that cannot be, or that is not the one of this code.

    Raises:
        Refused: ``bad_code``, ``bad_how``.
        Conflict: ``campaign_exists``.
    """
    if CODE.fullmatch(wish.code) is None:
        raise Refused(
            "bad_code", "a code has 1 to 40 letters, digits, dots or dashes", field="code"
        )
    if wish.how not in HOWS:
        raise Refused("bad_how", f"expected one of {', '.join(HOWS)}", field="how")
    given = {
        "key_id": wish.key_id,
        "tariff_index": wish.tariff_index,
        "three_tokens": int(wish.three_tokens),
        "how": wish.how,
    }
    if present is not None and any(present[name] != value for name, value in given.items()):
        raise Conflict(
            "campaign_exists", f"campaign {wish.code} is about another key", field="code"
        )
