"""Who acts, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Caller", "Principal", "Right"]


class Right(StrEnum):
    """What a principal may do; roles are sets of these (``services.access``)."""

    QUOTE = "quote"
    SELL = "sell"
    SALES_OWN = "sales.own"
    SALES_ALL = "sales.all"
    METERS = "meters"
    METERS_ASK = "meters.ask"
    READINGS = "readings"
    COMMANDS = "commands"
    COMMAND_SEND = "command.send"
    COMMAND_CONFIRM = "command.confirm"
    EVENTS = "events"
    METERS_WRITE = "meters.write"
    METERS_INSTALL = "meters.install"
    TARIFFS = "tariffs"
    TARIFF_DRAFT = "tariff.draft"
    TARIFF_APPROVE = "tariff.approve"
    CLASSES_WRITE = "classes.write"
    DEBTS = "debts"
    DEBTS_WRITE = "debts.write"
    FREE_WRITE = "free.write"
    ACCOUNTS_WRITE = "accounts.write"
    LEDGER = "ledger"
    LEDGER_CLOSE = "ledger.close"
    FLOAT_DEPOSIT = "float.deposit"
    FLOAT_LIMIT = "float.limit"
    COMMISSION_WRITE = "commission.write"
    SALE_REVERSE = "sale.reverse"
    SALE_CORRECT = "sale.correct"
    METER_SWAP = "meter.swap"
    REFUND = "refund"
    KEYS_CHANGE = "keys.change"
    TOKENS_MANAGE = "tokens.manage"
    TOKENS_ALL = "tokens.all"
    KEYS = "keys"
    KEYS_LOAD = "keys.load"
    KEYS_WRITE = "keys.write"
    INTEGRATIONS = "integrations"
    INTEGRATIONS_WRITE = "integrations.write"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: a person or a service of one utility and one branch.

    ``kind`` is ``"person"`` or ``"service"``; a service never approves what a second person must.
    """

    id: int
    utility_id: int
    branch_id: int
    name: str
    kind: str
    rights: frozenset[Right]
    currency: str
    time_zone: str
    training: bool = False  # the utility is for practice


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal in one request: what every act records."""

    principal: Principal
    api_key_id: int | None
    address: str
    request_id: str
    terminal: str = ""  # what the key is labelled, such as the name of a till
