"""The life of a tariff: drafted, edited, submitted, approved by a second person, withdrawn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused
from slotmeter.ports import Caller
from slotmeter.services.tariff_admin import TariffAdmin
from slotmeter.services.tariff_draft import Draft
from slotmeter.testing.api_town import ApiTown
from slotmeter.vending.tariff.reader import stored_tariff

pytestmark = pytest.mark.both_databases

SOURCE = """\
# the price of 2027
tariff: homes
title: Homes
commodity: electricity
currency: KES
energy: {label: Energy, price: 21.50}
taxes: {vat: {label: VAT, percent: 16, on: [energy]}}
"""
CHEAPER = SOURCE.replace("21.50", "19.00")


@dataclass
class Office:
    """A small utility with people who may draft and approve."""

    api: ApiTown
    tariffs: TariffAdmin
    clerk: Caller
    other_clerk: Caller
    boss: Caller
    robot: Caller

    async def draft(self, source: str = SOURCE) -> Draft:
        return await self.tariffs.make(self.clerk, source, note="", reason="new year")

    async def submitted(self, source: str = SOURCE) -> Draft:
        draft = await self.draft(source)
        return await self.tariffs.submit(self.clerk, draft.id, 1, reason="ready")

    async def approve(
        self,
        draft: Draft,
        *,
        by: Caller | None = None,
        days: int | None = None,
        accept: bool = False,
    ) -> Draft:
        at = None if days is None else self.api.clock.now() + timedelta(days=days)
        done = await self.tariffs.approve(
            by or self.boss,
            draft.id,
            draft.revision,
            valid_from=at,
            accept_warnings=accept,
            reason="board 12/2026",
        )
        return done.draft

    async def price(self, **later: int) -> str:
        at = self.api.clock.now() + timedelta(**later)
        row = await self.tariffs.in_force(self.clerk.principal.utility_id, "homes", at)
        return str(stored_tariff(row["body"]).energy.tables["standard"].blocks[0].price)

    def acts(self) -> list[str]:
        return [row[0] for row in self.api.sql("SELECT what FROM act ORDER BY id")]


@pytest.fixture
async def office(api: ApiTown) -> Office:
    join = api.utility.add_principal
    return Office(
        api,
        TariffAdmin(api.database, api.clock),
        clerk=await join("clerk", "office"),
        other_clerk=await join("clerk 2", "office"),
        boss=await join("boss", "supervisor"),
        robot=await join("robot", "admin", kind="service"),
    )


# --- drafting -------------------------------------------------------------------------------------


async def test_a_draft_keeps_its_text_as_it_was_written(office: Office) -> None:
    draft = await office.draft()

    assert draft.source == SOURCE
    assert (draft.state, draft.revision, draft.author) == ("draft", 1, "clerk")


async def test_a_draft_with_mistakes_names_each_with_line_and_column(office: Office) -> None:
    broken = SOURCE.replace("percent: 16", "percent: much").replace(
        "currency: KES", "currency: shillings"
    )

    with pytest.raises(Refused) as refused:
        await office.draft(broken)

    problems: Any = refused.value.details["problems"]
    places = [(each["line"], each["path"]) for each in problems]
    assert refused.value.code == "tariff_invalid"
    assert (7, "taxes.vat.percent") in places
    assert len(places) >= 2


async def test_reading_a_long_tariff_holds_up_nobody(office: Office) -> None:
    source = "tariff: long\n" + "".join(f"key{at}: 1\n" for at in range(4_000))
    making = asyncio.create_task(office.tariffs.make(office.clerk, source, note="", reason="test"))
    turns = 0
    while not making.done():
        await asyncio.sleep(0)
        turns += 1

    assert isinstance(making.exception(), Refused)
    assert turns > 10


async def test_a_draft_in_another_currency_is_refused(office: Office) -> None:
    with pytest.raises(Refused) as refused:
        await office.draft(SOURCE.replace("KES", "UGX"))

    assert refused.value.code == "currency_mismatch"


async def test_an_edit_of_a_revision_that_somebody_changed_is_refused(office: Office) -> None:
    draft = await office.draft()
    await office.tariffs.edit(office.other_clerk, draft.id, 1, CHEAPER, note="", reason="cheaper")

    with pytest.raises(Conflict) as refused:
        await office.tariffs.edit(office.clerk, draft.id, 1, SOURCE, note="", reason="dearer")

    assert refused.value.code == "draft_changed"
    assert refused.value.details == {"revision": 2}


async def test_a_submitted_draft_is_edited_by_nobody(office: Office) -> None:
    draft = await office.submitted()

    with pytest.raises(Conflict) as refused:
        await office.tariffs.edit(office.clerk, draft.id, 1, CHEAPER, note="", reason="late")

    assert refused.value.code == "draft_state"


async def test_a_rejected_draft_can_be_written_anew(office: Office) -> None:
    draft = await office.submitted()
    rejected = await office.tariffs.reject(office.boss, draft.id, 1, reason="too dear")
    edited = await office.tariffs.edit(office.clerk, draft.id, 1, CHEAPER, note="", reason="ok")

    assert (rejected.state, rejected.decider) == ("rejected", "boss")
    assert (edited.state, edited.revision, edited.decider) == ("draft", 2, None)


async def test_drafts_of_another_utility_are_unknown(office: Office) -> None:
    draft = await office.draft()

    with pytest.raises(NotFound):
        await office.tariffs.draft(999, draft.id)


# --- approving ------------------------------------------------------------------------------------


async def test_an_approved_draft_is_in_force_at_once(office: Office) -> None:
    approved = await office.approve(await office.submitted())

    assert (approved.state, approved.version, approved.decider) == ("approved", 1, "boss")
    assert await office.price() == "21.50"


async def test_a_scheduled_version_takes_effect_at_its_instant(office: Office) -> None:
    await office.approve(await office.submitted())
    await office.approve(await office.submitted(CHEAPER), days=10)

    assert await office.price(days=9) == "21.50"
    assert await office.price(days=10) == "19.00"


async def test_who_wrote_a_draft_cannot_approve_it(office: Office) -> None:
    draft = await office.tariffs.make(office.boss, SOURCE, note="", reason="mine")
    draft = await office.tariffs.submit(office.clerk, draft.id, 1, reason="ready")

    with pytest.raises(NotAllowed) as refused:
        await office.approve(draft)

    assert refused.value.code == "second_person_needed"


async def test_who_wrote_an_earlier_revision_cannot_approve_it_either(office: Office) -> None:
    draft = await office.tariffs.make(office.boss, SOURCE, note="", reason="mine")
    await office.tariffs.edit(office.clerk, draft.id, 1, CHEAPER, note="", reason="hers")
    draft = await office.tariffs.submit(office.clerk, draft.id, 2, reason="ready")

    with pytest.raises(NotAllowed) as refused:
        await office.approve(draft)

    assert refused.value.code == "second_person_needed"


async def test_who_submitted_a_draft_cannot_approve_it(office: Office) -> None:
    draft = await office.draft()
    draft = await office.tariffs.submit(office.boss, draft.id, 1, reason="ready")

    with pytest.raises(NotAllowed) as refused:
        await office.approve(draft)

    assert refused.value.code == "second_person_needed"


async def test_a_service_never_approves(office: Office) -> None:
    with pytest.raises(NotAllowed) as refused:
        await office.approve(await office.submitted(), by=office.robot)

    assert refused.value.code == "person_needed"


async def test_approval_needs_its_right(office: Office) -> None:
    with pytest.raises(NotAllowed) as refused:
        await office.approve(await office.submitted(), by=office.other_clerk)

    assert refused.value.code == "right_missing"


async def test_a_draft_that_was_not_submitted_is_not_approved(office: Office) -> None:
    with pytest.raises(Conflict) as refused:
        await office.approve(await office.draft())

    assert refused.value.code == "draft_state"


async def test_no_version_takes_effect_in_the_past(office: Office) -> None:
    with pytest.raises(Refused) as refused:
        await office.approve(await office.submitted(), days=-1)

    assert refused.value.code == "valid_from_in_the_past"


async def test_a_version_does_not_slip_in_before_one_that_is_scheduled(office: Office) -> None:
    await office.approve(await office.submitted(), days=10)

    with pytest.raises(Refused) as refused:
        await office.approve(await office.submitted(CHEAPER), days=5)

    assert refused.value.code == "version_out_of_order"


async def test_a_tax_invoice_needs_the_tax_number_of_the_utility(office: Office) -> None:
    office.api.sql("UPDATE utility SET tax_number = ''")

    with pytest.raises(Refused) as refused:
        await office.approve(await office.submitted())

    assert refused.value.code == "tax_number_missing"


async def test_a_warning_must_be_accepted(office: Office) -> None:
    draft = await office.submitted(SOURCE + "valid_until: 2027-07-01\n")

    with pytest.raises(Refused) as refused:
        await office.approve(draft)
    approved = await office.approve(draft, accept=True)

    assert refused.value.code == "warnings_not_accepted"
    assert approved.state == "approved"


async def test_every_act_is_in_the_audit_trail(office: Office) -> None:
    draft = await office.submitted()
    await office.approve(draft)

    assert office.acts() == ["tariff.draft", "tariff.submit", "tariff.approve"]


async def test_a_refused_approval_leaves_nothing_behind(office: Office) -> None:
    draft = await office.submitted()
    with pytest.raises(NotAllowed):
        await office.approve(draft, by=office.robot)

    assert office.acts() == ["tariff.draft", "tariff.submit"]
    assert (await office.tariffs.draft(office.clerk.principal.utility_id, draft.id)).state == (
        "submitted"
    )


# --- withdrawing ----------------------------------------------------------------------------------


async def test_a_version_withdrawn_before_its_time_never_takes_effect(office: Office) -> None:
    await office.approve(await office.submitted())
    later = await office.approve(await office.submitted(CHEAPER), days=10)

    await office.tariffs.withdraw_version(office.boss, "homes", 2, reason="court order")

    draft = await office.tariffs.draft(office.clerk.principal.utility_id, later.id)
    assert await office.price(days=20) == "21.50"
    assert draft.state == "withdrawn"


async def test_a_version_in_force_is_not_withdrawn(office: Office) -> None:
    await office.approve(await office.submitted())

    with pytest.raises(Conflict) as refused:
        await office.tariffs.withdraw_version(office.boss, "homes", 1, reason="oops")

    assert refused.value.code == "version_in_force"


async def test_the_number_of_a_withdrawn_version_is_not_used_again(office: Office) -> None:
    await office.approve(await office.submitted(), days=10)
    await office.tariffs.withdraw_version(office.boss, "homes", 1, reason="court order")

    approved = await office.approve(await office.submitted(CHEAPER), days=5)

    assert approved.version == 2


async def test_a_draft_that_was_given_up_is_not_submitted(office: Office) -> None:
    draft = await office.draft()
    await office.tariffs.withdraw(office.clerk, draft.id, 1, reason="not now")

    with pytest.raises(Conflict) as refused:
        await office.tariffs.submit(office.clerk, draft.id, 1, reason="after all")

    assert refused.value.code == "draft_state"


# --- looking --------------------------------------------------------------------------------------


async def test_the_diff_names_what_changes_by_its_path(office: Office) -> None:
    await office.approve(await office.submitted())
    draft = await office.draft(CHEAPER)

    diff, version = await office.tariffs.diff(
        office.clerk.principal.utility_id, "homes", draft.written
    )

    assert version == 1
    assert [(each.path, each.old, each.new) for each in diff.changes] == [
        ("energy.price", "21.50", "19.00")
    ]
    assert "-energy: {label: Energy, price: 21.50}" in diff.text


async def test_another_way_of_writing_is_no_change(office: Office) -> None:
    await office.approve(await office.submitted())
    draft = await office.draft(SOURCE.replace("21.50", "21.5").replace("# the price of 2027\n", ""))

    diff, _ = await office.tariffs.diff(office.clerk.principal.utility_id, "homes", draft.written)

    assert diff.same_meaning
    assert diff.text
