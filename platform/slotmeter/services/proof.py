"""Proof that a meter took credit: its total rose by exactly what it accepted; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CREDIT_UNPROVEN", "Accepted", "Proof", "prove"]

CREDIT_UNPROVEN = "credit_unproven"
"""Alarm of a meter that took a token and shows no credit for it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A token that the meter says it took, but that is not proven yet.

    Args:
        token_id: the token.
        amount: what it carries, in Wh or mL.
        is_new: told by this very report.
        is_settled: told before or with the baseline, which may contain it already.
    """

    token_id: int
    amount: int
    is_new: bool
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """What a report's credit total proves.

    Args:
        proven: tokens that are in the meter's credit now.
        explained: as much of the total as known tokens explain, for the next report.
        mismatch: the total and the known tokens differ.
    """

    proven: frozenset[int]
    explained: int
    mismatch: bool


def prove(
    total: int, total_before: int | None, explained: int | None, accepted: Sequence[Accepted]
) -> Proof:
    """Compare how far a meter's credit total rose with what it says it accepted.

    A token is proven when the rise since the last report is the sum of the tokens told with this
    report, or when all that was left open adds up, since a rise and the token behind it may come in
    different reports. Where an older difference stays open, the rise since the last report counts,
    so that one unexplained amount does not leave every later token unproven.

    The first report of a meter is a baseline: what known tokens do not explain of it was in the
    meter before. Tokens told until then are settled by it: whether it contains them cannot be
    known, so later rises need not account for them. A rise that they alone complete proves them.

    Args:
        total: all credit the meter ever accepted, Wh or mL.
        total_before: the same in the report before; None at the first.
        explained: of the proof before; None at the first.
        accepted: tokens accepted and not proven yet, those of this report among them.
    """
    everything = frozenset(token.token_id for token in accepted)
    every_amount = sum(token.amount for token in accepted)
    if total_before is None or explained is None:
        proven = everything if total == every_amount else frozenset[int]()
        return Proof(proven, total, mismatch=False)
    open_tokens = [token for token in accepted if not token.is_settled]
    if total - explained == sum(token.amount for token in open_tokens):
        return Proof(frozenset(token.token_id for token in open_tokens), total, mismatch=False)
    if total - explained == every_amount:
        return Proof(everything, total, mismatch=False)
    new = [token for token in open_tokens if token.is_new]
    rise = total - total_before
    if new and rise == sum(token.amount for token in new):
        return Proof(frozenset(token.token_id for token in new), explained + rise, mismatch=True)
    if open_tokens and rise == sum(token.amount for token in open_tokens):
        shown = frozenset(token.token_id for token in open_tokens)
        return Proof(shown, explained + rise, mismatch=True)
    return Proof(frozenset(), explained, mismatch=True)
