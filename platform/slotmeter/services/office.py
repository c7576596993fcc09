"""What the office does, as one thing to hand around: tariffs, classes, debts, the registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from slotmeter.ports import Clock, UnitOfWork
from slotmeter.ports.looking import Looks
from slotmeter.services.class_preview import ClassPreview
from slotmeter.services.class_review import ClassReview
from slotmeter.services.classes import Classes
from slotmeter.services.credit_terms import CreditTerms
from slotmeter.services.debt_desk import DebtDesk
from slotmeter.services.driver_packs import load_drivers
from slotmeter.services.free_units import FreeUnitsOffice
from slotmeter.services.ledger_desk import LedgerDesk
from slotmeter.services.registries import Registries
from slotmeter.services.tariff_admin import TariffAdmin
from slotmeter.services.tariff_preview import TariffPreview

__all__ = ["Office"]


@dataclass(frozen=True, slots=True)
class Office:
    """The services behind the pages and commands of an office."""

    tariffs: TariffAdmin
    preview: TariffPreview
    classes: Classes
    class_review: ClassReview
    class_preview: ClassPreview
    free_units: FreeUnitsOffice
    terms: CreditTerms
    debts: DebtDesk
    ledger: LedgerDesk
    registries: Registries

    @classmethod
    def of(cls, uow: UnitOfWork, clock: Clock, *, looks: Looks | None = None) -> Self:
        """Make all of them on one database, with what reports are read by if that is another."""
        return cls(
            tariffs=TariffAdmin(uow, clock),
            preview=TariffPreview(looks or uow, clock),
            classes=Classes(uow, clock),
            class_review=ClassReview(uow, clock),
            class_preview=ClassPreview(uow, clock),
            free_units=FreeUnitsOffice(uow, clock),
            terms=CreditTerms(uow, clock),
            debts=DebtDesk.of(uow, clock, looks=looks),
            ledger=LedgerDesk.of(uow, clock, looks=looks),
            registries=Registries.of(uow, clock, load_drivers()),
        )
