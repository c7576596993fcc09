"""Customer classes: made, given to accounts from a date on; a class never reprices the past."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.account_lookup import (
    account_read,
    found_account,
    from_instant,
)
from slotmeter.services.act_changes import changed
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS
from slotmeter.units import epoch_us

__all__ = ["AccountClass", "Classes", "class_row"]

CODE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
TITLE_CHARACTERS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class AccountClass:
    """The class of an account from an instant on; None is no class."""

    account: str
    class_code: str | None
    from_us: int
    is_new: bool


def class_row(
    caller: Caller,
    new_id: NewId,
    *,
    account_id: int,
    class_code: str | None,
    from_us: int,
    at_us: int,
    reason: str,
) -> Insert:
    """Return the row that gives an account a class."""
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": caller.principal.utility_id,
        "account_id": account_id,
        "class_code": class_code,
        "from_us": from_us,
        "reason": reason,
        "principal_id": caller.principal.id,
        "created_us": at_us,
    }
    return Insert("account_class", row)


class Classes:
    """The transaction boundary of customer classes."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def create(self, caller: Caller, code: str, title: str, *, reason: str) -> Row:
        """Make a class that tariffs may name.

        Raises:
            Refused: ``bad_code`` or ``bad_title``.
            Conflict: ``class_exists``.
        """
        if CODE.fullmatch(code) is None:
            raise Refused(
                "bad_code",
                f"expected 1 to 32 lower-case letters, digits, '-' or '_', got {code[:80]!r}",
                field="code",
            )
        if not title.strip() or len(title) > TITLE_CHARACTERS_MAX or not title.isprintable():
            raise Refused(
                "bad_title",
                f"expected one line of 1 to {TITLE_CHARACTERS_MAX} characters",
                field="title",
            )
        at_us = epoch_us(self._clock.now())
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            if rows["class"]:
                raise Conflict("class_exists", f"there is a class {code} already", field="code")
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": utility_id,
                "code": code,
                "title": title,
                "created_us": at_us,
            }
            data = changed(None, {"title": title})
            act = caller_act(caller, new_id, at_us, "class.add", code, reason, data)
            return Changes(row, [Insert("customer_class", row), act])

        return await self._uow.run([_class_read(utility_id, code)], decide)

    async def classes(
        self, utility_id: int, *, after: str = "", limit: int = LIST_ROWS
    ) -> Sequence[Row]:
        """Return classes by code; ``after`` is the last one of the page before."""
        params: dict[str, SqlValue] = {"utility_id": utility_id, "after": after, "limit": limit}
        rows = await self._uow.read([Read("class_list", params)])
        return rows["class_list"]

    async def assign(
        self,
        caller: Caller,
        account: str,
        class_code: str | None,
        *,
        from_at: datetime | None,
        reason: str,
    ) -> AccountClass:
        """Give an account a class from an instant on; None takes its class away.

        The same class again from the same instant changes nothing.

        Raises:
            NotFound: ``account_unknown`` or ``class_unknown``.
            Refused: ``from_in_the_past``.
        """
        at_us = epoch_us(self._clock.now())
        from_us = from_instant(from_at, at_us)
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[AccountClass]:
            found = found_account(rows["account"], account)
            if class_code is not None and not rows["class"]:
                raise NotFound("class_unknown", f"there is no class {class_code}", field="class")
            current = rows["current"][0]["class_code"] if rows["current"] else None
            if current == class_code:
                return Changes(AccountClass(account, class_code, from_us, is_new=False))
            row = class_row(
                caller,
                new_id,
                account_id=found["id"],
                class_code=class_code,
                from_us=from_us,
                at_us=at_us,
                reason=reason,
            )
            act = caller_act(
                caller,
                new_id,
                at_us,
                what="class.assign",
                subject=account,
                reason=reason,
                data={
                    "from": current,
                    "to": class_code,
                    "from_us": from_us,
                    **changed({"class": current}, {"class": class_code}),
                },
            )
            return Changes(AccountClass(account, class_code, from_us, is_new=True), [row, act])

        reads = [
            account_read(utility_id, account),
            _class_read(utility_id, class_code or ""),
            Read(
                "account_class_at",
                {"utility_id": utility_id, "account": From("account", "id"), "at_us": from_us},
                "current",
            ),
        ]
        return await self._uow.run(reads, decide)

    async def history(
        self, utility_id: int, account: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> Sequence[Row]:
        """Return the classes of an account, the newest first.

        Args:
            utility_id: whose.
            account: its number.
            before: id of the last row of the page before.
            limit: rows at most.

        Raises:
            NotFound: ``account_unknown``.
        """
        rows = await self._uow.read(
            [
                account_read(utility_id, account),
                Read(
                    "account_class_history",
                    {
                        "utility_id": utility_id,
                        "account": From("account", "id"),
                        "before": ID_MAX if before is None else before,
                        "limit": limit,
                    },
                    "history",
                ),
            ]
        )
        found_account(rows["account"], account)
        return rows["history"]

    async def class_at(self, utility_id: int, account: str, at: datetime) -> str | None:
        """Return the class of an account at an instant, or None.

        Raises:
            NotFound: ``account_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "account": From("account", "id"),
            "at_us": epoch_us(at),
        }
        rows = await self._uow.read(
            [account_read(utility_id, account), Read("account_class_at", params, "current")]
        )
        found_account(rows["account"], account)
        return rows["current"][0]["class_code"] if rows["current"] else None


def _class_read(utility_id: int, code: str) -> Read:
    return Read("class_by_code", {"utility_id": utility_id, "code": code}, "class")
