"""Many EA07 credit tokens at once, on arrays: for bulk issue, where one call per token is too slow.

The arithmetic is that of :mod:`.issue`, a column at a time; every key may be another one. Only this
module of the engine uses numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slotmeter.errors import Refused
from slotmeter.vending.sts import crc
from slotmeter.vending.sts.amounts import UNITS_MAX, decode_units
from slotmeter.vending.sts.sta import merged_tables
from slotmeter.vending.sts.tables import PRODUCTION, TableSet
from slotmeter.vending.sts.tid import TID_MAX

__all__ = ["CreditBatch", "issue_credit_batch"]

U64 = NDArray[np.uint64]
Integers = NDArray[np.integer]

# Rows worked on together: small enough that the columns stay in the processor's cache.
_ROWS: Final = 4096
# As in :mod:`.sta`: right shifts of the complemented key that bring selection bits to bits 0 and 4.
_ROUND_SHIFTS: Final = range(15, -1, -1)

_CLASS_SHIFT: Final = np.uint64(27)
_CLASS_BITS: Final = np.uint64(3 << 27)
_TEN_DIGITS: Final = np.uint64(10**10)
# 2^64 split at ten decimal digits, for the two bits above the block.
_TOP_HIGH, _TOP_LOW = (np.uint64(part) for part in divmod(1 << 64, 10**10))
_GROUP: Final = np.uint64(10_000)
_GROUPS: Final = np.array([f"{n:04d}" for n in range(10_000)], dtype="S4").view(np.uint32)


@dataclass(frozen=True, slots=True)
class CreditBatch:
    """Tokens made together, in the order of the request.

    Attributes:
        digits: 20 digits each, as bytes (``S20``).
        value_fields: the 16-bit amount fields.
        values: the rounded amounts in token units, for receipts and ledger.
    """

    digits: NDArray[np.bytes_]
    value_fields: NDArray[np.int64]
    values: NDArray[np.int64]


@lru_cache(maxsize=8)
def _sta_table(tables: TableSet) -> U64:
    """Merged tables in one row: byte position, two selection bits, byte."""
    merged = merged_tables(tables).encrypt
    flat = [merged[position][s] for position in range(8) for s in (0, 1, 16, 17)]
    return np.array(flat, dtype=np.uint64).reshape(-1)


@lru_cache(maxsize=1)
def _value_table() -> NDArray[np.int64]:
    """Decoded value of every 16-bit field, ascending: encoding is a search in it."""
    return np.array([decode_units(field) for field in range(1 << 16)], dtype=np.int64)


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, NDArray[np.uint16]]:
    """CRC of class 0 with an empty body, and what each byte of a body adds to it.

    Right for subclasses 0 to 3, whose highest byte stays below 40h.
    """
    empty = crc.crc_field(0, 0)
    rows = [
        [crc.crc_field(0, byte << 8 * position) ^ empty for byte in range(256)]
        for position in range(6)
    ]
    return empty, np.array(rows, dtype=np.uint16)


def _column(name: str, values: Integers | int, rows: int, high: int) -> U64:
    """Return a column of ``rows`` numbers from 0 to ``high``."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise Refused("bad_batch", f"{name} must be integers", field=name)
    if array.shape not in ((), (1,), (rows,)):
        raise Refused("bad_batch", f"{name} must be one number or {rows}", field=name)
    if array.size and (array.min() < 0 or array.max() > high):
        raise Refused("bad_batch", f"{name} must be from 0 to {high}", field=name)
    return np.broadcast_to(array.astype(np.uint64), (rows,))


def issue_credit_batch(
    decoder_keys: U64 | int,
    *,
    subclass: int,
    tids: Integers,
    rnds: Integers | int,
    units: Integers | int,
    tables: TableSet = PRODUCTION,
) -> CreditBatch:
    """Make EA07 credit tokens of one subclass.

    Key expiry and key type are the caller's business (:func:`.issue.check_issuable`), once per
    meter.

    Args:
        decoder_keys: one 64-bit key, most significant byte first, or one for each token.
        subclass: 0 to 3.
        tids: token identifiers; their number is the number of tokens.
        rnds: 4 random bits each.
        units: amounts in token units; rounded up to what can be coded.
        tables: the STA table set.

    Raises:
        Refused: ``bad_batch``: a column has another length, is not of integers or out of range.
    """
    if subclass not in range(4):
        raise Refused(
            "bad_batch", f"subclass must be from 0 to 3, got {subclass}", field="subclass"
        )
    rows = np.asarray(tids).size
    keys = _column("decoder_keys", decoder_keys, rows, (1 << 64) - 1)
    tid_column = _column("tids", tids, rows, TID_MAX)
    rnd_column = _column("rnds", rnds, rows, 15)
    amounts = _column("units", units, rows, UNITS_MAX).astype(np.int64)
    fields = np.searchsorted(_value_table(), amounts)
    bodies = np.full(rows, subclass << 44, dtype=np.uint64)
    bodies |= rnd_column << np.uint64(40)
    bodies |= tid_column << np.uint64(16)
    bodies |= fields.astype(np.uint64)
    digits = np.empty((rows, 5), dtype=np.uint32)
    table = _sta_table(tables)
    for start in range(0, rows, _ROWS):
        part = slice(start, start + _ROWS)
        blocks = bodies[part] << np.uint64(16) | _crc(bodies[part])
        digits[part] = _digits(_encrypt(blocks, keys[part], table))
    return CreditBatch(
        digits.view("S20").reshape(rows), fields.astype(np.int64), _value_table()[fields]
    )


def _bytes_of(column: U64) -> NDArray[np.uint8]:
    """Return eight rows of bytes, the least significant first."""
    little = np.ascontiguousarray(column.astype("<u8"))
    return little.view(np.uint8).reshape(-1, 8).T


def _crc(bodies: U64) -> U64:
    empty, table = _crc_table()
    octets = _bytes_of(bodies)
    field = np.full(bodies.shape, empty, dtype=np.uint16)
    for position, row in enumerate(table):
        field ^= row[octets[position]]
    return field.astype(np.uint64)


def _encrypt(blocks: U64, keys: U64, table: U64) -> U64:
    aligned = ~keys
    offsets = np.arange(8, dtype=np.uint16).reshape(8, 1) << np.uint16(10)
    for shift in _ROUND_SHIFTS:
        # The selection bits of each byte go to bits 8 and 9 of the index.
        rotated = aligned >> np.uint64(shift) | aligned << np.uint64(-shift % 64)
        bits = _bytes_of(rotated)
        selection = (bits & 1).astype(np.uint16) << 8 | (bits & 16).astype(np.uint16) << 5
        index = offsets | selection | _bytes_of(blocks)
        blocks = np.bitwise_or.reduce(table[index], axis=0)
    return blocks


def _digits(blocks: U64) -> NDArray[np.uint32]:
    """Put class 0 in and return five groups of four decimal digits for each token."""
    top = blocks >> _CLASS_SHIFT & np.uint64(3)
    rest = blocks & ~_CLASS_BITS
    low = rest % _TEN_DIGITS + top * _TOP_LOW
    high = rest // _TEN_DIGITS + top * _TOP_HIGH + low // _TEN_DIGITS
    low %= _TEN_DIGITS
    # Ten digits are two groups and a half: the middle group takes two of each half.
    hundred = np.uint64(100)
    middle = high % hundred * hundred + low // (_GROUP * _GROUP)
    high //= hundred
    groups = (high // _GROUP, high % _GROUP, middle, low // _GROUP % _GROUP, low % _GROUP)
    return _GROUPS[np.stack(groups, axis=1).astype(np.intp)]
