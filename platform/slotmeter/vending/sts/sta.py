"""STA, the block cipher of EA07: 64-bit block, 64-bit key, 16 rounds of substitution and
permutation.

Substitution and permutation of a round are merged into one look-up per byte: for each byte position
and each pair of selection bits, 256 contributions of 64 bits, whose OR is the block after the
round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from slotmeter.vending.sts.tables import PRODUCTION, TableSet

__all__ = ["Sta", "merged_tables"]

_MASK_64: Final = (1 << 64) - 1
_SELECTION_MASK: Final = 0x1111_1111_1111_1111
# The two selection bits of a byte stay where they are found, 4 bits apart: 0, 1, 16 or 17.
_SELECTIONS: Final = (0, 1, 16, 17)

# Shifts of the doubled key: the alignment of 12 and the 3 below the first selection bit make 15.
_ROUND_SHIFTS: Final = range(15, -1, -1)

_ByteTable = tuple[int, ...]
_Round = tuple[_ByteTable, ...]


@dataclass(frozen=True, slots=True)
class _Merged:
    """Look-up tables of one set: ``[position][selection][byte]``, and plain permutations."""

    encrypt: tuple[tuple[_ByteTable, ...], ...]
    decrypt: tuple[tuple[_ByteTable, ...], ...]
    permute: _Round
    permute_back: _Round


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    result = [0] * len(permutation)
    for source, target in enumerate(permutation):
        result[target] = source
    return tuple(result)


def _permutation_tables(p: Sequence[int]) -> _Round:
    tables = []
    for position in range(8):
        table = [0] * 256
        for value in range(1, 256):
            lowest = value & -value
            bit = 8 * position + lowest.bit_length() - 1
            table[value] = table[value ^ lowest] | 1 << p[bit]
        tables.append(tuple(table))
    return tuple(tables)


def _merge(
    s0: Sequence[int], s1: Sequence[int], permutation: _Round
) -> tuple[tuple[_ByteTable, ...], ...]:
    positions = []
    for permuted in permutation:
        row: list[_ByteTable] = [()] * (max(_SELECTIONS) + 1)
        for selection in _SELECTIONS:
            low = s1 if selection & 1 else s0
            high = s1 if selection & 16 else s0
            row[selection] = tuple(
                permuted[high[value >> 4] << 4 | low[value & 15]] for value in range(256)
            )
        positions.append(tuple(row))
    return tuple(positions)


@lru_cache(maxsize=8)
def merged_tables(tables: TableSet) -> _Merged:
    """Return the look-up tables of a table set (made once per set, about 5 ms)."""
    forward = _permutation_tables(tables.p)
    backward = _permutation_tables(_inverse(tables.p))
    return _Merged(
        encrypt=_merge(tables.s0, tables.s1, forward),
        decrypt=_merge(_inverse(tables.s0), _inverse(tables.s1), backward),
        permute=forward,
        permute_back=backward,
    )


def _run(rounds: Iterable[_Round], block: int) -> int:
    # Written out: this loop is what a vendor's token rate hangs on.
    for t0, t1, t2, t3, t4, t5, t6, t7 in rounds:
        b0, b1, b2, b3, b4, b5, b6, b7 = block.to_bytes(8, "little")
        block = t0[b0] | t1[b1] | t2[b2] | t3[b3] | t4[b4] | t5[b5] | t6[b6] | t7[b7]
    return block


class Sta:
    """STA under one key; keep it while many tokens use the key.

    Args:
        key: 8 bytes, most significant byte first.
        tables: the table set.
    """

    __slots__ = ("_decrypt_rounds", "_encrypt_rounds", "_key", "_merged")

    def __init__(self, key: bytes, tables: TableSet = PRODUCTION) -> None:
        """Keep the key; its rounds are laid out when first needed."""
        self._key = int.from_bytes(key, "big")
        self._merged = merged_tables(tables)
        self._encrypt_rounds: list[_Round] | None = None
        self._decrypt_rounds: list[_Round] | None = None

    def _rounds(self, tables: tuple[tuple[_ByteTable, ...], ...]) -> list[_Round]:
        """Choose the tables of rounds 1 to 16 by the key's selection bits.

        The key of round r is the complement rotated right by 12 and left by r - 1; its selection
        bits are bits 3, 7, 11 and so on. Written twice in a row, a rotated key is a plain shift.
        """
        aligned = ~self._key & _MASK_64
        doubled = aligned << 64 | aligned
        t0, t1, t2, t3, t4, t5, t6, t7 = tables
        rounds: list[_Round] = []
        for shift in _ROUND_SHIFTS:
            s0, s1, s2, s3, s4, s5, s6, s7 = (doubled >> shift & _SELECTION_MASK).to_bytes(
                8, "little"
            )
            rounds.append((t0[s0], t1[s1], t2[s2], t3[s3], t4[s4], t5[s5], t6[s6], t7[s7]))
        return rounds

    def encrypt(self, block: int) -> int:
        """Encrypt a 64-bit block."""
        rounds = self._encrypt_rounds
        if rounds is None:
            rounds = self._encrypt_rounds = self._rounds(self._merged.encrypt)
        return _run(rounds, block)

    def decrypt(self, block: int) -> int:
        """Decrypt a 64-bit block.

        A decryption round is inverse permutation, then inverse substitution. The tables merge them
        the other way round (across the border of two rounds), so one permutation is made before the
        first round and one undone after the last.
        """
        rounds = self._decrypt_rounds
        if rounds is None:
            rounds = self._decrypt_rounds = self._rounds(self._merged.decrypt)[::-1]
        block = _run((self._merged.permute_back,), block)
        return _run((self._merged.permute,), _run(rounds, block))
