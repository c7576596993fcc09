"""What a meter shall be coded with: beside what it is coded with, as long as the two differ.

``meter.wanted`` holds it as JSON. While it is NULL, the meter has the key it shall have. With
``change_id`` 0 the set of key change tokens comes with the meter's next sale; otherwise it was made
and its proof is awaited. From then on tokens are made under the new key, and every receipt lists
the set first: the meter refuses a set that it has taken already, and nothing is lost by typing it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from slotmeter.ports import Row
from slotmeter.services.events import compact_json
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.vending.sts import KeyParameters, VendingKeyInfo

__all__ = ["Coding", "Wanted", "coding_of", "parameters_under", "wanted_of"]


@dataclass(frozen=True, slots=True)
class Coding:
    """A vending key by its id, and the parameters that lead from it to a meter's own key."""

    key_id: str
    parameters: KeyParameters

    @property
    def text(self) -> str:
        """The parameters as the database keeps them."""
        return compact_json(self.parameters.to_dict())

    @classmethod
    def from_wanted(cls, text: str) -> Coding:
        """Return the new key of ``meter.wanted``."""
        return Wanted.from_text(text).coding


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a meter shall be coded with.

    Args:
        coding: the new key.
        three_tokens: EA07: the set carries the supply group code as well.
        change_id: the change whose set was made; 0 makes it with the next sale.
        reason: why, for the change that a sale makes.
        asked_by_id: who wants it.
        campaign_id: of which campaign it is a part; 0 for none.
        begun: a section of the set was typed at the meter.
    """

    coding: Coding
    three_tokens: bool = False
    change_id: int = 0
    reason: str = ""
    asked_by_id: int = 0
    campaign_id: int = 0
    begun: bool = False

    @property
    def is_made(self) -> bool:
        """Whether the set was made."""
        return self.change_id != 0

    def made(self, change_id: int) -> Wanted:
        """Return it with its set made."""
        return replace(self, change_id=change_id)

    def to_text(self) -> str:
        """Write it as the database keeps it."""
        return compact_json(
            {
                "key_id": self.coding.key_id,
                "parameters": self.coding.parameters.to_dict(),
                "three_tokens": self.three_tokens,
                "change_id": self.change_id,
                "reason": self.reason,
                "asked_by_id": self.asked_by_id,
                "campaign_id": self.campaign_id,
                "begun": self.begun,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what :meth:`to_text` wrote."""
        data = json.loads(text)
        coding = Coding(data.pop("key_id"), KeyParameters.from_dict(data.pop("parameters")))
        return cls(coding, **data)


@lru_cache(maxsize=1_024)
def _wanted(text: str) -> Wanted:
    return Wanted.from_text(text)


def wanted_of(text: str | None) -> Wanted | None:
    """Read ``meter.wanted``."""
    return None if text is None else _wanted(text)


def coding_of(row: Row) -> Coding:
    """Return what a meter is coded with, of a row with ``key_id`` and ``parameters``."""
    return Coding(row["key_id"], stored_parameters(row["parameters"]))


def parameters_under(
    current: KeyParameters, key: VendingKeyInfo, *, tariff_index: int | None = None
) -> KeyParameters:
    """Return a meter's parameters under another vending key.

    The meter keeps its number, its algorithm and its tables; supply group, revision, type, expiry
    and base date are the key's. The tariff index stays unless another is given.

    Raises:
        Refused: the key cannot serve the meter's algorithm, or the tariff index is out of range.
    """
    return replace(
        current,
        sgc=key.sgc,
        krn=key.krn,
        kt=key.kt,
        ken=key.ken,
        base_date=key.base_date,
        dkga=key.dkga,
        ti=current.ti if tariff_index is None else tariff_index,
    )
