"""Checkpoints: signed statements of how far the audit's chain has come, and by which hash.

Whoever can write the database can write the whole chain anew. A checkpoint that was exported before
tells: the chain must still go through the hash that it states. The signature tells that the
checkpoint itself is this installation's, not made up later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Changes, Clock, Insert, NewId, Read, Row, Rows, Signer, UnitOfWork
from slotmeter.services.access import Origin, act_row
from slotmeter.units import epoch_us, iso_utc

__all__ = ["FORMAT", "Checkpoint", "fingerprint", "make_checkpoint"]

FORMAT: Final = "slotmeter audit checkpoint 1"

_DOMAIN: Final = b"slotmeter audit checkpoint 1\0"
_SIZES: Final = {"hash": 32, "public_key": 32, "signature": 64}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint.

    Args:
        seq: of the group that it vouches for, and through it for all before.
        hash: of that group.
        at_us: when it was made, UTC epoch microseconds.
        public_key: Ed25519 (RFC 8032).
        signature: over :meth:`message`.
    """

    seq: int
    hash: bytes
    at_us: int
    public_key: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """What is signed."""
        return _message(self.seq, self.hash, self.at_us)

    @classmethod
    def of_row(cls, row: Row) -> Checkpoint:
        """Read a row of ``audit_checkpoint``."""
        return cls(row["seq"], row["hash"], row["at_us"], row["public_key"], row["signature"])

    def to_dict(self) -> dict[str, object]:
        """Return it as the JSON document that is exported."""
        return {
            "format": FORMAT,
            "group": self.seq,
            "hash": self.hash.hex(),
            "at": iso_utc(self.at_us),
            "at_us": self.at_us,
            "public_key": self.public_key.hex(),
            "fingerprint": fingerprint(self.public_key),
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Checkpoint:
        """Read an exported document.

        Raises:
            Refused: ``bad_checkpoint``.
        """
        if document.get("format") != FORMAT:
            raise Refused("bad_checkpoint", f"expected the format {FORMAT!r}", field="format")
        seq, at_us = document.get("group"), document.get("at_us")
        if not isinstance(seq, int) or not isinstance(at_us, int) or min(seq, at_us) < 0:
            raise Refused("bad_checkpoint", "expected whole numbers", field="group")
        found = {name: _bytes(document, name, size) for name, size in _SIZES.items()}
        return cls(seq=seq, at_us=at_us, **found)


def _message(seq: int, hashed: bytes, at_us: int) -> bytes:
    return b"".join((_DOMAIN, seq.to_bytes(8, "big"), at_us.to_bytes(8, "big"), hashed))


def _bytes(document: Mapping[str, Any], name: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(document[name])
    except (KeyError, TypeError, ValueError):
        value = b""
    if len(value) != size:
        raise Refused("bad_checkpoint", f"expected {2 * size} hexadecimal digits", field=name)
    return value


def fingerprint(public_key: bytes) -> str:
    """Return what people compare of a public key: 16 hexadecimal digits of its SHA-256."""
    return sha256(public_key).hexdigest()[:16]


async def make_checkpoint(
    uow: UnitOfWork, signer: Signer, clock: Clock, origin: Origin, utility_id: int
) -> Checkpoint:
    """Sign how far the chain has come, store that, and record the act.

    Args:
        uow: the database.
        signer: signs with the vault's key.
        clock: our time.
        origin: who asked.
        utility_id: whose act it is; the chain is of all utilities.

    Raises:
        NotFound: ``audit_empty``: nothing has been sealed yet.
    """
    at_us = epoch_us(clock.now())

    def decide(rows: Rows, new_id: NewId) -> Changes[Checkpoint]:
        if not rows["newest"]:
            raise NotFound("audit_empty", "nothing has been written that could be vouched for")
        group = rows["newest"][0]
        made = signer.sign(_message(group["seq"], group["hash"], at_us))
        checkpoint = Checkpoint(group["seq"], group["hash"], at_us, made.public_key, made.signature)
        row = Insert(
            "audit_checkpoint",
            {
                "id": new_id(),
                "at_us": at_us,
                "seq": checkpoint.seq,
                "hash": checkpoint.hash,
                "public_key": checkpoint.public_key,
                "signature": checkpoint.signature,
                "principal_id": origin.principal_id,
            },
        )
        act = act_row(
            new_id,
            origin,
            utility_id,
            at_us,
            what="audit.checkpoint",
            subject=str(checkpoint.seq),
            reason="",
            data={
                "hash": checkpoint.hash.hex(),
                "fingerprint": fingerprint(checkpoint.public_key),
            },
        )
        return Changes(checkpoint, [row, act])

    return await uow.run([Read("audit_newest_group", {}, "newest")], decide)
