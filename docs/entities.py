"""Writes docs/reference/entities.md from the vocabulary: ``python docs/entities.py``.

A test compares the page with what this makes, so it cannot fall behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from slotmeter.devices.entities import REGISTERS, Register
from slotmeter.units import Commodity

PAGE: Final = Path(__file__).parent / "reference" / "entities.md"

HEAD: Final = """\
# Registers

What a meter can report, one name each. Drivers, the HTTP API, the dashboards, rules and the
JSON of meters on IP networks all use these names and no others. Values are whole
numbers of the base unit. `python docs/entities.py` writes this page from
[`slotmeter.devices.entities`](../../platform/slotmeter/devices/entities.py).

* **cumulative**: only grows, until it rolls over or the meter is replaced. A driver says where it
  rolls over, and how finely its model counts.
* **instantaneous**: what is so at the moment.
* **interval**: what the interval that ended at the value's time came to.

| register | what | unit | read as | kind | least | most | of |
|---|---|---|---|---|---|---|---|
"""

TAIL: Final = """
Units: `flag` is 0 for no and 1 for yes; `code` is the number of something, not an amount; `minor`
is the smallest unit of the utility's currency. A driver refuses a frame with a value outside of
*least* and *most*. A register that counts another commodity than the meter's is not taken.

Beside registers a report says whether supply is on, off or armed, whether the meter is tampered
with, its serial number, what became of commands and tokens, and what happened since the last
report: [`slotmeter.devices.frames`](../../platform/slotmeter/devices/frames.py).
"""


def row(register: Register) -> str:
    """Return the line of one register."""
    quantity = register.quantity
    title = f"{register.title}; {register.note}" if register.note else register.title
    cells = (
        f"`{register.name}`",
        title.replace("``", "`"),
        " or ".join(register.units),
        quantity.sold_symbol if quantity else "kWh or m³" if not register.unit else "",
        register.kind.value,
        "" if register.low is None else str(register.low),
        "" if register.high is None else str(register.high),
        "all"
        if register.commodities == frozenset(Commodity)
        else ", ".join(sorted(register.commodities)),
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """Return the page."""
    return HEAD + "".join(row(register) for register in REGISTERS.values()) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
