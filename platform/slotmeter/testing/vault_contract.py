"""What every security module must do, as checks that any test runner can call.

Each check is an ``async`` function of one argument: a function, plain or ``async``, that opens the
module under test. It may be called several times in one check, each time after the module before
was closed, and must find what was loaded before. The storage has to be empty when a check begins::

    @pytest.mark.parametrize("check", VAULT_CHECKS, ids=lambda check: check.__name__)
    async def test_my_module_keeps_the_contract(check, tmp_path):
        await check(lambda: MyModule.open(tmp_path))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.ports import SecurityModule
from slotmeter.vending.sts import (
    DecoderKey,
    KeyParameters,
    KeyType,
    Register,
    ResultCode,
    TokenRequest,
    VendingKey,
    derive_decoder_key,
)
from slotmeter.vending.sts.meter import StsMeter
from slotmeter.vending.sts.meter_state import MeterConfig

__all__ = ["VAULT_CHECKS", "OpenModule", "VaultCheck"]

OpenModule = Callable[[], SecurityModule | Awaitable[SecurityModule]]
VaultCheck = Callable[[OpenModule], Awaitable[None]]

# The keys of the STS Association's own test suite (STS 531-1): public, and of no use elsewhere.
DES_KEY: Final = bytes.fromhex("ABABABABABABABAB")
HMAC_KEY: Final = bytes.fromhex("ABABABABABABABAB949494949494949401234567")
PAN: Final = "600727000000000009"
OTHER_PAN: Final = "600727111111111153"

OLD: Final = KeyParameters(PAN, "123456", krn=1, kt=2, ti=1, base_date=1993, dkga="02")
NEW: Final = KeyParameters(PAN, "201457", krn=1, kt=2, ti=1, base_date=2014, dkga="04")
NEW_128: Final = replace(NEW, ea=11)

TID_2004: Final = 5871715
TID_2014: Final = 0x14EEC
DIGITS_OLD: Final = "23716100501183194197"
DIGITS_NEW: Final = "70630503470028726114"
DIGITS_NEW_128: Final = "58625789986991357486"
DIGITS_KEY_CHANGE: Final = ("06510894141453018386", "22979178279997208272")


def _key_for(parameters: KeyParameters, material: bytes) -> VendingKey:
    return VendingKey(
        material,
        parameters.sgc,
        parameters.krn,
        parameters.kt,
        parameters.dkga,
        parameters.base_date,
        parameters.ken,
    )


OLD_KEY: Final = _key_for(OLD, DES_KEY)
NEW_KEY: Final = _key_for(NEW, HMAC_KEY)


def _tenth_kwh(tid: int) -> TokenRequest:
    return TokenRequest.credit(0, units=1, tid=tid, rnd=5)


async def _opened(open_module: OpenModule) -> SecurityModule:
    opened = open_module()
    return await opened if isinstance(opened, Awaitable) else opened


async def _refusal(attempt: Awaitable[object]) -> SlotmeterError:
    try:
        await attempt
    except SlotmeterError as error:
        return error
    raise AssertionError("expected a refusal, but it went through")


async def published_tokens_come_out(open_module: OpenModule) -> None:
    """Tokens of the published test suite: DKGA02 with EA07, DKGA04 with EA07 and EA11."""
    module = await _opened(open_module)
    await module.load("old", OLD_KEY)
    await module.load("new", NEW_KEY)

    assert (await module.issue("old", OLD, _tenth_kwh(TID_2004))).digits == DIGITS_OLD
    assert (await module.issue("new", NEW, _tenth_kwh(TID_2014))).digits == DIGITS_NEW
    assert (await module.issue("new", NEW_128, _tenth_kwh(TID_2014))).digits == DIGITS_NEW_128
    await module.close()


async def an_issued_token_tells_its_fields(open_module: OpenModule) -> None:
    """The rounded amount comes back, for receipt and ledger."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)
    request = TokenRequest.credit(1, units=16_385, tid=TID_2014, rnd=9)

    token = await module.issue("new", NEW, request)

    assert (token.token_class, token.subclass, token.name) == (0, 1, "credit_water")
    assert (token.tid, token.rnd) == (TID_2014, 9)
    assert (token.value_field, token.value) == (0x4001, 16_394)
    await module.close()


async def keys_survive_closing(open_module: OpenModule) -> None:
    """What was loaded is there after a restart, and gives the same digits again and again."""
    module = await _opened(open_module)
    loaded = await module.load("old", OLD_KEY)
    await module.close()
    module = await _opened(open_module)

    assert await module.describe("old") == loaded
    for _ in range(2):
        assert (await module.issue("old", OLD, _tenth_kwh(TID_2004))).digits == DIGITS_OLD
    await module.close()


async def a_key_is_described_by_its_facts(open_module: OpenModule) -> None:
    """Names and check value, and nothing of the key itself."""
    module = await _opened(open_module)
    info = await module.load("new", replace(NEW_KEY, ken=170))

    assert info == await module.describe("new")
    assert (info.key_id, info.sgc, info.krn, info.kt) == ("new", "201457", 1, 2)
    assert (info.dkga, info.base_date, info.ken) == ("04", 2014, 170)
    assert len(info.check_value) == 6
    assert int(info.check_value, 16) >= 0
    for shown in (repr(info), repr(module), str(module), repr(NEW_KEY)):
        assert HMAC_KEY.hex() not in shown.lower()
        assert repr(HMAC_KEY) not in shown
    await module.close()


async def an_unknown_key_is_not_found(open_module: OpenModule) -> None:
    """Every call says so in the same way."""
    module = await _opened(open_module)

    for attempt in (
        module.describe("nobody"),
        module.issue("nobody", NEW, _tenth_kwh(TID_2014)),
        module.change_key(("nobody", NEW), ("nobody", replace(NEW, ti=2))),
    ):
        error = await _refusal(attempt)
        assert isinstance(error, NotFound)
        assert error.code == "vending_key_unknown"
    await module.close()


async def an_id_keeps_its_key(open_module: OpenModule) -> None:
    """The same key may come again; another under its id is refused and changes nothing."""
    module = await _opened(open_module)
    first = await module.load("old", OLD_KEY)

    assert await module.load("old", OLD_KEY) == first
    for other in (NEW_KEY, replace(OLD_KEY, krn=2), replace(OLD_KEY, key=b"\x01" * 8)):
        error = await _refusal(module.load("old", other))
        assert isinstance(error, Conflict)
        assert error.code == "vending_key_exists"
    assert await module.describe("old") == first
    assert (await module.load("old", replace(OLD_KEY, ken=200))).ken == 200
    await module.close()


async def parameters_must_name_the_key(open_module: OpenModule) -> None:
    """A token under another key than the parameters say would be lost money."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)

    for field, wrong in (
        ("sgc", replace(NEW, sgc="201458")),
        ("krn", replace(NEW, krn=2)),
        ("kt", replace(NEW, kt=KeyType.INITIALISATION)),
        ("base_date", replace(NEW, base_date=2035)),
        ("dkga", replace(NEW, dkga="02")),
    ):
        error = await _refusal(module.issue("new", wrong, _tenth_kwh(TID_2014)))
        assert isinstance(error, Refused)
        assert (error.code, error.field) == ("vending_key_mismatch", field)
    await module.close()


async def what_the_meter_would_refuse_is_refused(open_module: OpenModule) -> None:
    """An expired key, credit under a default key, and a table set that is not there."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)
    await module.load("default", replace(NEW_KEY, kt=KeyType.DEFAULT))
    expired = replace(NEW, ken=0)

    assert await module.issue("new", expired, _tenth_kwh(0xFFFF))
    for code, key_id, parameters in (
        ("key_expired", "new", expired),
        ("credit_under_default_key", "default", replace(NEW, kt=KeyType.DEFAULT)),
        ("unknown_table_set", "new", replace(NEW, table_set="nobody's")),
    ):
        error = await _refusal(module.issue(key_id, parameters, _tenth_kwh(0x10000)))
        assert isinstance(error, Refused)
        assert error.code == code
    await module.close()


async def unusable_ids_and_keys_are_refused(open_module: OpenModule) -> None:
    """Nothing that cannot be used gets in."""
    module = await _opened(open_module)

    for key_id in ("", " ", "a/b", "x" * 65, ".hidden"):
        error = await _refusal(module.load(key_id, NEW_KEY))
        assert isinstance(error, Refused)
        assert error.code == "bad_key_id"
        assert isinstance(await _refusal(module.describe(key_id)), NotFound)
    await module.close()


def _meter(parameters: KeyParameters, key: DecoderKey, made_tid: int) -> StsMeter:
    config = MeterConfig(
        pan=parameters.pan, registers=frozenset({Register.ELECTRICITY}), ea=parameters.ea
    )
    return StsMeter.made(config, parameters, key, made_tid)


async def a_key_change_moves_the_meter(open_module: OpenModule) -> None:
    """Under EA07 with two and three tokens, and under EA11 with four."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)

    for parameters, three_tokens, count in ((NEW, False, 2), (NEW, True, 3), (NEW_128, False, 4)):
        wanted = replace(parameters, ti=2)
        meter = _meter(parameters, derive_decoder_key(HMAC_KEY, parameters), TID_2014)
        request = _tenth_kwh(TID_2014 + 1)
        tokens = await module.change_key(
            ("new", parameters), ("new", wanted), three_tokens=three_tokens
        )
        assert len(tokens) == count
        results = [meter.enter(token.digits) for token in tokens]

        assert all(result.code.partly_accepted for result in results[:-1])
        assert results[-1].code is ResultCode.ACCEPT
        under_old_key = await module.issue("new", parameters, request)
        assert meter.enter(under_old_key.digits).code is ResultCode.CRC_ERROR
        under_new_key = await module.issue("new", wanted, request)
        assert meter.enter(under_new_key.digits).code is ResultCode.ACCEPT
    await module.close()


async def key_change_tokens_are_as_published(open_module: OpenModule) -> None:
    """Test CTSA05 step 1 of STS 531-1-07: tariff index 1 to 2."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)

    tokens = await module.change_key(("new", NEW), ("new", replace(NEW, ti=2)))

    assert tuple(token.digits for token in tokens) == DIGITS_KEY_CHANGE
    assert all(token.tid is None and token.value is None for token in tokens)
    await module.close()


async def a_key_change_stays_with_one_meter(open_module: OpenModule) -> None:
    """Neither the meter nor its algorithm can be changed by tokens."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)

    for code, wanted in (
        ("key_change_other_meter", replace(NEW, pan=OTHER_PAN)),
        ("key_change_other_algorithm", NEW_128),
    ):
        error = await _refusal(module.change_key(("new", NEW), ("new", wanted)))
        assert isinstance(error, Refused)
        assert error.code == code
    await module.close()


async def an_expired_key_can_be_left(open_module: OpenModule) -> None:
    """Key change tokens have no identifier: a key that expired still takes the meter away."""
    module = await _opened(open_module)
    await module.load("old", OLD_KEY)
    await module.load("new", NEW_KEY)
    expired = replace(OLD, ken=0)

    tokens = await module.change_key(("old", expired), ("new", NEW))

    meter = _meter(expired, derive_decoder_key(DES_KEY, expired), 0)
    assert [meter.enter(token.digits).code for token in tokens] == [
        ResultCode.KCT_1,
        ResultCode.ACCEPT,
    ]
    await module.close()


async def a_closed_module_is_unavailable(open_module: OpenModule) -> None:
    """Closing twice does no harm; anything else says to come back later."""
    module = await _opened(open_module)
    await module.load("new", NEW_KEY)
    await module.issue("new", NEW, _tenth_kwh(TID_2014))
    await module.close()
    await module.close()

    for attempt in (
        module.describe("new"),
        module.load("new", NEW_KEY),
        module.issue("new", NEW, _tenth_kwh(TID_2014)),
        module.change_key(("new", NEW), ("new", replace(NEW, ti=2))),
    ):
        assert isinstance(await _refusal(attempt), Unavailable)


VAULT_CHECKS: Final[tuple[VaultCheck, ...]] = (
    published_tokens_come_out,
    an_issued_token_tells_its_fields,
    keys_survive_closing,
    a_key_is_described_by_its_facts,
    an_unknown_key_is_not_found,
    an_id_keeps_its_key,
    parameters_must_name_the_key,
    what_the_meter_would_refuse_is_refused,
    unusable_ids_and_keys_are_refused,
    a_key_change_moves_the_meter,
    key_change_tokens_are_as_published,
    a_key_change_stays_with_one_meter,
    an_expired_key_can_be_left,
    a_closed_module_is_unavailable,
)
"""All of them."""
