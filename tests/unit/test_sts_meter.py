"""The meter's own rules, by example: result codes, key types, key change, time-outs, restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from slotmeter.errors import Refused
from slotmeter.vending.sts import (
    CreditChanged,
    DisplayRequested,
    EntryResult,
    KeyChanged,
    KeyParameters,
    KeyType,
    MeterConfig,
    MeterState,
    Register,
    ResultCode,
    StsMeter,
    TableSet,
    TokenRequest,
    cipher_for,
    derive_decoder_key,
    encode_token,
    key_change_tokens,
    token_of,
)
from slotmeter.vending.sts.issue import BlockCipher
from slotmeter.vending.sts.management import KeySection1, KeySection2, KeySection3, KeySection4
from slotmeter.vending.sts.results import SettingChanged
from slotmeter.vending.sts.tables import PRODUCTION

VENDING_KEY = bytes.fromhex("ABABABABABABABAB949494949494949401234567")
EA07 = KeyParameters("600727000000000009", "201457", krn=1, kt=2, ti=1)
EA11 = replace(EA07, ea=11)
ALL = frozenset(Register)


def cipher(parameters: KeyParameters) -> BlockCipher:
    return cipher_for(derive_decoder_key(VENDING_KEY, parameters))


def meter(parameters: KeyParameters = EA07, made_tid: int = 1000, **config: Any) -> StsMeter:
    settings: dict[str, Any] = {"registers": ALL, "ea": parameters.ea, **config}
    key = derive_decoder_key(VENDING_KEY, parameters)
    return StsMeter.made(MeterConfig(parameters.pan, **settings), parameters, key, made_tid)


def enter(to: StsMeter, request: TokenRequest, parameters: KeyParameters = EA07) -> EntryResult:
    """Enter a token that no vendor has checked first."""
    return to.enter(encode_token(token_of(request), cipher(parameters)))


def credit(tid: int = 2000, units: int = 10, subclass: int = 0) -> TokenRequest:
    return TokenRequest.credit(subclass, units=units, tid=tid, rnd=5)


def change(current: KeyParameters, new: KeyParameters, three_tokens: bool = False) -> list[str]:
    tokens = key_change_tokens(
        cipher(current),
        current,
        derive_decoder_key(VENDING_KEY, new),
        new,
        three_tokens=three_tokens,
    )
    return [token.digits for token in tokens]


# --- result codes --------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", ["", "1" * 19, "9" * 20, "abc"])
def test_what_is_not_a_token_is_a_format_error(digits: str) -> None:
    result = meter().enter(digits)

    assert result == EntryResult(ResultCode.FORMAT_ERROR)
    assert result.name is None


def test_class_3_is_no_function() -> None:
    assert meter().enter(f"{3 << 27:020d}") == EntryResult(ResultCode.FUNCTION_ERROR, 3)


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest.management(11, value=1, tid=2000, rnd=5),
        TokenRequest(1, 6, value=1),
        TokenRequest(1, 2, value=5 << 30),
        TokenRequest.set_extended(token_index=5, value=1, tid=2000, rnd=5),
        TokenRequest.meter_test(control=1 << 30),
        TokenRequest.meter_test(control=0),
    ],
    ids=["own management", "own display", "read index 5", "index 5", "test 31", "no test"],
)
def test_what_the_meter_does_not_know_is_a_function_error(request_: TokenRequest) -> None:
    to = meter()
    before = to.state

    assert enter(to, request_).code is ResultCode.FUNCTION_ERROR
    assert to.state == before


@pytest.mark.parametrize(("token_class", "subclass"), [(0, 9), (1, 4)])
def test_a_reserved_subclass_is_a_function_error(token_class: int, subclass: int) -> None:
    from slotmeter.vending.sts.crc import crc_field
    from slotmeter.vending.sts.frame import digits_of, join_class

    body = subclass << 44 | 2000 << 16
    block = body << 16 | crc_field(token_class, body)
    if token_class == 0:
        block = cipher(EA07).encrypt(block)

    result = meter().enter(digits_of(join_class(block, token_class)))

    assert result == EntryResult(ResultCode.FUNCTION_ERROR, token_class, subclass)
    assert result.name == "reserved"


def test_credit_for_a_register_that_the_meter_lacks_is_a_function_error() -> None:
    electricity = meter(registers=frozenset({Register.ELECTRICITY}))

    assert enter(electricity, credit(subclass=1)).code is ResultCode.FUNCTION_ERROR
    assert enter(electricity, credit(subclass=0)).code is ResultCode.ACCEPT


@pytest.mark.parametrize(
    ("register", "code"),
    [
        (8, ResultCode.RANGE_ERROR),
        (0xFFFE, ResultCode.RANGE_ERROR),
        (1, ResultCode.FUNCTION_ERROR),
        (0, ResultCode.ACCEPT),
    ],
)
def test_clearing_a_register_depends_on_the_register(register: int, code: ResultCode) -> None:
    electricity = meter(registers=frozenset({Register.ELECTRICITY}))
    request = TokenRequest.management(1, value=register, tid=2000, rnd=5)

    assert enter(electricity, request).code is code


def test_a_flag_that_is_not_assigned_is_a_range_error() -> None:
    request = TokenRequest.set_flag(flag_index=12, flag_value=1, tid=2000, rnd=5)

    assert enter(meter(), request).code is ResultCode.RANGE_ERROR


def test_padding_that_is_not_zero_is_a_format_error() -> None:
    request = TokenRequest.management(5, value=1, tid=2000, rnd=5)

    assert enter(meter(), request).code is ResultCode.FORMAT_ERROR


def test_credit_that_would_overflow_is_refused_and_can_be_entered_later() -> None:
    to = meter(register_max=100)
    enter(to, credit(tid=2000, units=60))

    assert enter(to, credit(tid=2001, units=41)).code is ResultCode.OVERFLOW_ERROR
    assert to.draw(Register.ELECTRICITY, 1) == 59
    assert enter(to, credit(tid=2001, units=41)).code is ResultCode.ACCEPT
    assert to.credit(Register.ELECTRICITY) == 100


def test_a_debit_that_would_overflow_is_refused() -> None:
    request = TokenRequest.currency_credit(4, amount_e5=-200, tid=2000)

    assert enter(meter(register_max=100), request).code is ResultCode.OVERFLOW_ERROR


@pytest.mark.parametrize(
    ("code", "four_digits", "result"),
    [
        (0, False, ResultCode.ACCEPT),
        (0, True, ResultCode.ACCEPT),
        (11, False, ResultCode.ACCEPT),
        (11, True, ResultCode.ACCEPT),
        (12, False, ResultCode.MFR_CODE_ERROR),
        (1111, True, ResultCode.MFR_CODE_ERROR),
    ],
)
def test_a_test_token_is_for_every_manufacturer_or_for_ours(
    code: int, four_digits: bool, result: ResultCode
) -> None:
    ours = meter(replace(EA07, pan="600727111111111153"))
    request = TokenRequest.meter_test(
        control=1, manufacturer_code=code, four_digit_code=four_digits
    )

    assert ours.enter(encode_token(token_of(request))).code is result


def test_all_ones_ask_for_every_test_that_the_meter_has() -> None:
    few = meter(tests=frozenset({3, 1}))

    everything = enter(few, TokenRequest.meter_test(control=(1 << 36) - 1))
    some = enter(few, TokenRequest.meter_test(control=0b110))

    assert everything.effects == (DisplayRequested((1, 3), (1 << 36) - 1),)
    assert some.effects == (DisplayRequested((3,), 0b110),)


def test_a_test_token_may_be_entered_again_and_again() -> None:
    to = meter()

    codes = {enter(to, TokenRequest.meter_test(control=1)).code for _ in range(3)}

    assert codes == {ResultCode.ACCEPT}


# --- memory of identifiers -----------------------------------------------------------------------


def test_the_smallest_identifier_goes_when_the_memory_is_full() -> None:
    to = meter(made_tid=1000, tid_memory_size=3)
    for tid in (2000, 3000, 4000):
        enter(to, credit(tid))

    assert to.state.tids == (2000, 3000, 4000)
    assert enter(to, credit(1999)).code is ResultCode.OLD_ERROR
    assert enter(to, credit(2000)).code is ResultCode.USED_ERROR
    assert enter(to, credit(2500)).code is ResultCode.ACCEPT
    assert to.state.tids == (2500, 3000, 4000)


def test_a_new_meter_takes_older_tokens_down_to_the_day_it_was_made() -> None:
    to = meter(made_tid=1000)

    assert enter(to, credit(5000)).code is ResultCode.ACCEPT
    assert enter(to, credit(1001)).code is ResultCode.ACCEPT
    assert enter(to, credit(1000)).code is ResultCode.USED_ERROR
    assert enter(to, credit(999)).code is ResultCode.OLD_ERROR


def test_a_refused_token_is_not_remembered() -> None:
    to = meter()
    request = TokenRequest.management(1, value=9, tid=2000, rnd=5)
    enter(to, request)

    assert enter(to, credit(2000)).code is ResultCode.ACCEPT


def test_a_meter_without_key_expiry_takes_late_tokens() -> None:
    late = 0x010000
    expired = replace(EA07, ken=0)

    assert enter(meter(expired), credit(late)).code is ResultCode.KEY_EXPIRED_ERROR
    assert enter(meter(expired, key_expiry=False), credit(late)).code is ResultCode.ACCEPT


@pytest.mark.parametrize(
    ("kt", "code"),
    [
        (KeyType.INITIALISATION, ResultCode.ACCEPT),
        (KeyType.DEFAULT, ResultCode.DDTK_ERROR),
        (KeyType.UNIQUE, ResultCode.ACCEPT),
        (KeyType.COMMON, ResultCode.ACCEPT),
    ],
)
def test_a_default_key_carries_no_credit_but_every_key_carries_management(
    kt: KeyType, code: ResultCode
) -> None:
    parameters = replace(EA07, kt=kt)
    to = meter(parameters)
    limit = TokenRequest.management(0, value=5000, tid=2001, rnd=5)

    assert enter(to, credit(), parameters).code is code
    assert enter(to, limit, parameters).effects == (SettingChanged("maximum_power_limit", 5000),)


# --- key change ----------------------------------------------------------------------------------

ALLOWED = {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (2, 1), (3, 3), (3, 1)}
ALLOWED_ON_CARDS = ALLOWED | {(0, 3), (1, 3)}


@pytest.mark.parametrize("cards", [False, True], ids=["keypad", "magnetic cards"])
@pytest.mark.parametrize("new_kt", [0, 1, 2, 3])
@pytest.mark.parametrize("kt", [0, 1, 2, 3])
def test_a_key_type_follows_only_its_parents(kt: int, new_kt: int, cards: bool) -> None:
    current, new = replace(EA07, kt=kt), replace(EA07, kt=new_kt, ti=2)
    to = meter(current, magnetic_carrier=cards)
    first, second = change(current, new)
    to.enter(first)

    result = to.enter(second)

    # A meter that has a common key reads cards; without cards it can only be one made for a test.
    allowed = ALLOWED_ON_CARDS if cards else ALLOWED - {(3, 3)}
    if (kt, new_kt) in allowed:
        assert result.code is ResultCode.ACCEPT
        assert to.state.kt == new_kt
    else:
        assert result.code is ResultCode.KEY_TYPE_ERROR
        assert to.state.kt == kt
    assert to.state.sections == {}


def test_a_completed_key_change_tells_what_the_meter_is_coded_with() -> None:
    new = replace(EA07, sgc="123456", krn=9, ti=99, ken=0xA5, base_date=2035)
    to = meter()
    enter(to, credit(2000, units=7))
    first, second, third = change(EA07, new, three_tokens=True)

    assert to.enter(first).code is ResultCode.KCT_1
    assert to.enter(third).code is ResultCode.KCT_3
    assert to.enter(second).effects == (
        KeyChanged(sgc="123456", krn=9, kt=2, ti=99, ken=0xA5, rolled_over=True),
    )
    assert to.state.tids == (0,) * 50
    assert to.credit(Register.ELECTRICITY) == 7


def test_a_two_token_change_leaves_the_supply_group_unknown() -> None:
    to = meter()
    for digits in change(EA07, replace(EA07, ti=2)):
        to.enter(digits)

    assert to.state.sgc == "000000"
    assert to.state.tids == (1000,) * 50


def test_the_four_sections_of_ea11_have_their_own_codes() -> None:
    to = meter(EA11)
    first, second, third, fourth = change(EA11, replace(EA11, ti=2))

    codes = [to.enter(digits).code for digits in (fourth, third, second, first)]

    assert codes == [ResultCode.KCT_4, ResultCode.KCT_3, ResultCode.KCT_2, ResultCode.ACCEPT]
    assert to.state.sgc == "201457"


def test_a_fourth_section_is_no_function_of_ea07() -> None:
    digits = encode_token(KeySection4(0, 0), cipher(EA07))

    assert meter().enter(digits).code is ResultCode.FUNCTION_ERROR


@pytest.mark.parametrize(
    ("section", "code"),
    [
        (KeySection1(0, 0, False, False, 2, 0), ResultCode.RANGE_ERROR),
        (KeySection1(0, 10, False, False, 2, 0), ResultCode.RANGE_ERROR),
        (KeySection2(0, 100, 0), ResultCode.RANGE_ERROR),
        (KeySection3(1_000_000 << 20), ResultCode.RANGE_ERROR),
        (KeySection3(999_999 << 20 | 1), ResultCode.FORMAT_ERROR),
        (KeySection3(999_999 << 20), ResultCode.KCT_3),
    ],
)
def test_a_section_with_an_impossible_field_is_refused(
    section: KeySection1 | KeySection2 | KeySection3, code: ResultCode
) -> None:
    to = meter()

    assert to.enter(encode_token(section, cipher(EA07))).code is code
    assert bool(to.state.sections) == code.partly_accepted


def test_an_impossible_supply_group_in_four_sections_is_refused() -> None:
    to = meter(EA11)
    sections = (
        KeySection1(0, 1, False, False, 2, 1),
        KeySection2(0, 1, 2),
        KeySection3(0xFFF << 32 | 3),
        KeySection4(0xFFF, 4),
    )

    codes = [to.enter(encode_token(section, cipher(EA11))).code for section in sections]

    assert codes[-1] is ResultCode.RANGE_ERROR
    assert to.state.key == derive_decoder_key(VENDING_KEY, EA11)


def test_an_incomplete_change_is_dropped_when_another_token_is_accepted() -> None:
    to = meter()
    first, second = change(EA07, replace(EA07, ti=2))
    to.enter(first)
    enter(to, credit())

    assert to.enter(second).code is ResultCode.KCT_2
    assert to.enter(first).code is ResultCode.ACCEPT


@pytest.mark.parametrize("other", [credit(999), TokenRequest.meter_test(control=1 << 30)])
def test_an_incomplete_change_survives_a_token_that_is_refused(other: TokenRequest) -> None:
    to = meter()
    first, second = change(EA07, replace(EA07, ti=2))
    to.enter(first)
    assert not enter(to, other).code.accepted

    assert to.enter(second).code is ResultCode.ACCEPT


@pytest.mark.parametrize(("later_s", "code"), [(600, "accept"), (601, "2nd_kct")])
def test_an_incomplete_change_is_dropped_after_ten_minutes(later_s: int, code: str) -> None:
    to = meter()
    first, second = change(EA07, replace(EA07, ti=2))
    to.enter(first, at_s=100)

    assert to.enter(second, at_s=100 + later_s).code.value == code


def test_the_newer_of_two_key_changes_wins() -> None:
    to = meter()
    abandoned, wanted = replace(EA07, ti=2), replace(EA07, ti=3)
    to.enter(change(EA07, abandoned)[0])
    for digits in change(EA07, wanted):
        to.enter(digits)

    assert to.state.key == derive_decoder_key(VENDING_KEY, wanted)


# --- credit, settings, restart -------------------------------------------------------------------


def test_consumption_is_drawn_from_a_register_below_zero_too() -> None:
    to = meter()
    enter(to, credit(units=5))

    assert to.draw(Register.ELECTRICITY, 7) == -2
    assert enter(to, credit(2001, units=3)).effects == (CreditChanged(Register.ELECTRICITY, -2, 1),)


def test_nothing_is_drawn_from_a_register_that_is_not_there() -> None:
    water = meter(registers=frozenset({Register.WATER}))

    assert water.credit(Register.GAS) == 0
    with pytest.raises(Refused) as refusal:
        water.draw(Register.GAS, 1)
    assert refusal.value.code == "no_such_register"


def test_a_meter_with_a_sites_own_tables_is_taken_up_with_them() -> None:
    own = TableSet("own", PRODUCTION.s1, PRODUCTION.s0, PRODUCTION.p)
    to = meter(tables=own)
    digits = encode_token(
        token_of(credit()), cipher_for(derive_decoder_key(VENDING_KEY, EA07), own)
    )

    again = StsMeter.from_dict(to.to_dict(), {"own": own})

    assert again.enter(digits).code is ResultCode.ACCEPT
    with pytest.raises(Refused) as refusal:
        StsMeter.from_dict(to.to_dict())
    assert refusal.value.code == "unknown_table_set"


STORED = meter().to_dict()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "bad_meter_state"),
        ({"config": STORED["config"]}, "bad_meter_state"),
        ({**STORED, "state": {}}, "bad_meter_state"),
        ({**STORED, "state": {**STORED["state"], "key": "00"}}, "bad_meter_state"),
        ({**STORED, "state": {**STORED["state"], "tids": [-1]}}, "bad_meter_state"),
        ({**STORED, "state": {**STORED["state"], "registers": {"9": 1}}}, "bad_meter_state"),
        ({**STORED, "config": {"tables": "production"}}, "bad_meter_config"),
        ({**STORED, "config": {**STORED["config"], "weight": 3}}, "bad_meter_config"),
        ({**STORED, "config": {**STORED["config"], "tid_memory_size": 0}}, "bad_meter_config"),
        ({**STORED, "config": {**STORED["config"], "pan": "1"}}, "bad_pan"),
    ],
)
def test_a_stored_meter_that_cannot_be_read_is_refused(data: Mapping[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refusal:
        StsMeter.from_dict(data)

    assert refusal.value.code == code


def test_a_meter_is_not_made_with_the_key_of_another() -> None:
    config = MeterConfig("600727111111111153", ALL)

    for other in (replace(EA07, pan="600727111111111153", ea=11), EA07):
        with pytest.raises(Refused) as refusal:
            MeterState.made(config, other, derive_decoder_key(VENDING_KEY, EA07), 0)
        assert refusal.value.code == "bad_meter_config"


def test_no_key_shows_when_a_meter_is_printed() -> None:
    to = meter()
    to.enter(change(EA07, replace(EA07, ti=2))[0])
    key = derive_decoder_key(VENDING_KEY, EA07).key

    shown = repr(to.state) + repr(to) + str(to.state.key)

    assert key.hex() not in shown.lower()
    assert repr(key) not in shown
    assert "sections=" not in shown
