"""Keys, their derivation, requests, issue and key change: what goes in and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.vending.sts import (
    UNITS_MAX,
    DecoderKey,
    DerivationOptions,
    IssuedToken,
    KeyParameters,
    Register,
    TokenRequest,
    VendingKey,
    change_due,
    check_change,
    check_vending_key_bytes,
    cipher_for,
    decode_digits,
    derive_decoder_key,
    encode_token,
    issue_token,
    key_change_tokens,
    minute_1993_of_tid,
    pan_of_drn,
    rollover,
    token_name,
    token_of,
    vending_key_check_value,
)
from slotmeter.vending.sts.dkga import data_block, dkga01_applies, has_odd_parity, with_odd_parity
from slotmeter.vending.sts.tokens import MeterTest, ReadExtended, TransferCredit

DES_KEY = bytes.fromhex("ABABABABABABABAB")
HMAC_KEY = bytes.fromhex("ABABABABABABABAB949494949494949401234567")
PAN = "600727000000000009"
OLD = KeyParameters(PAN, "123456", krn=1, kt=2, ti=1, base_date=1993, dkga="02")
NEW = KeyParameters(PAN, "201457", krn=1, kt=2, ti=1)


def refused(code: str, field: str | None = None) -> pytest.RaisesExc[Refused]:
    return pytest.RaisesExc(
        Refused, check=lambda error: error.code == code and field in (None, error.field)
    )


# --- key parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pan", "600727000000000008"),
        ("pan", 600727000000000009),
        ("sgc", "12345"),
        ("sgc", 123456),
        ("sgc", "12345x"),
        ("krn", 0),
        ("krn", 10),
        ("krn", True),
        ("krn", "1"),
        ("kt", 4),
        ("ti", 100),
        ("ti", -1),
        ("ken", 256),
        ("base_date", 2000),
        ("base_date", "2014"),
        ("ea", 9),
        ("ea", True),
        ("dkga", "03"),
        ("dkga", 4),
        ("table_set", ""),
        ("table_set", "x" * 41),
        ("table_set", None),
    ],
)
def test_key_parameters_that_no_meter_has_are_refused(field: str, value: object) -> None:
    with pytest.raises(Refused) as refusal:
        KeyParameters.from_dict({**NEW.to_dict(), field: value})

    assert refusal.value.field == field


def test_ea11_needs_dkga04() -> None:
    with refused("ea_needs_dkga04", "dkga"):
        replace(OLD, ea=11)


def test_key_parameters_survive_being_stored() -> None:
    stored = json.loads(json.dumps(OLD.to_dict()))

    assert KeyParameters.from_dict(stored) == OLD
    assert set(stored) == {field.name for field in fields(KeyParameters)}


@pytest.mark.parametrize("name", ["pan", "sgc", "krn", "kt", "ti"])
def test_stored_key_parameters_need_what_has_no_default(name: str) -> None:
    stored = {key: value for key, value in NEW.to_dict().items() if key != name}

    with refused("missing_field", name):
        KeyParameters.from_dict(stored)


def test_an_unknown_key_parameter_is_refused() -> None:
    with refused("unknown_field", "colour"):
        KeyParameters.from_dict({**NEW.to_dict(), "colour": "red"})


@pytest.mark.parametrize(("dkga", "size"), [("01", 8), ("02", 8), ("04", 20)])
def test_a_vending_key_has_the_length_of_its_algorithm(dkga: str, size: int) -> None:
    key = VendingKey(bytes(size), "123456", krn=1, kt=2, dkga=dkga, base_date=2014)

    assert "key=" not in repr(key)
    with refused("bad_vending_key", "key"):
        replace(key, key=bytes(size + 1))
    with refused("bad_vending_key", "key"):
        VendingKey("00" * size, "123456", 1, 2, dkga, 2014)  # type: ignore[arg-type]  # a caller's slip
    with refused("bad_vending_key"):
        check_vending_key_bytes(bytes(size + 1), dkga)


@pytest.mark.parametrize(("ea", "size"), [(7, 8), (11, 16)])
def test_a_decoder_key_has_the_length_of_its_algorithm(ea: int, size: int) -> None:
    assert repr(DecoderKey(bytes(size), ea)) == f"DecoderKey(ea={ea})"
    with refused("bad_decoder_key"):
        DecoderKey(bytes(size - 1), ea)
    with refused("bad_ea"):
        DecoderKey(bytes(size), 9)


# --- derivation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "parameters", "decoder_key"),
    [
        (DES_KEY, OLD, "E653341F9D5BF36F"),
        (HMAC_KEY, NEW, "87F3ECBB2E46B48F"),
        (HMAC_KEY, replace(NEW, ea=11), "929BD3A415C9420A05EC5EE9F3CE91C3"),
        (HMAC_KEY, replace(NEW, ti=2), "7F78CDD220BE39B8"),
    ],
)
def test_decoder_keys_are_those_of_the_worked_examples(
    key: bytes, parameters: KeyParameters, decoder_key: str
) -> None:
    assert derive_decoder_key(key, parameters).key.hex().upper() == decoder_key


def test_the_data_block_is_that_of_the_worked_example() -> None:
    assert data_block(OLD).hex().upper() == "2151356011FFFFFF"


@pytest.mark.parametrize(
    ("pan", "pan_block"),
    [("600727111111111153", 0x0072700000000000), ("000001000000000082", 0)],
)
def test_a_common_key_belongs_to_no_meter(pan: str, pan_block: int) -> None:
    common = replace(OLD, pan=pan, kt=3)

    assert int.from_bytes(data_block(common), "big") == pan_block ^ 0x3123456011FFFFFF


def test_a_common_key_under_dkga04_has_a_fixed_pan_unless_the_site_wants_the_meters() -> None:
    common = replace(NEW, kt=3)
    other = replace(common, pan="600727111111111153")
    own = DerivationOptions(common_key_with_own_pan=True)

    assert derive_decoder_key(HMAC_KEY, common) == derive_decoder_key(HMAC_KEY, other)
    assert derive_decoder_key(HMAC_KEY, common, own) != derive_decoder_key(HMAC_KEY, other, own)


@given(st.binary(min_size=8, max_size=8))
def test_odd_parity_changes_the_lowest_bits_only(key: bytes) -> None:
    odd = with_odd_parity(key)

    assert has_odd_parity(odd)
    assert all(byte.bit_count() % 2 == 1 for byte in odd)
    assert [byte >> 1 for byte in odd] == [byte >> 1 for byte in key]
    assert derive_decoder_key(key, OLD) == derive_decoder_key(odd, OLD)


def test_a_des_key_with_wrong_parity_is_refused_where_the_site_wants_that() -> None:
    strict = DerivationOptions(refuse_even_parity=True)

    assert derive_decoder_key(DES_KEY, OLD, strict)
    assert derive_decoder_key(bytes(20), NEW, strict)
    with refused("vending_key_parity", "vending_key"):
        derive_decoder_key(bytes(8), OLD, strict)


EARLY = KeyParameters(
    pan_of_drn("01090000009"), "123456", krn=1, kt=2, ti=1, base_date=1993, dkga="01"
)


def test_dkga01_is_off_unless_asked_for() -> None:
    with refused("dkga01_disabled", "dkga"):
        derive_decoder_key(DES_KEY, EARLY)

    assert derive_decoder_key(DES_KEY, EARLY, DerivationOptions(allow_dkga01=True))


def test_dkga01_swaps_the_roles_of_key_and_block() -> None:
    from slotmeter.vending.sts.dkga import _des

    block = data_block(EARLY)
    expected = int.from_bytes(_des(block, DES_KEY), "big") ^ int.from_bytes(DES_KEY, "big")

    key = derive_decoder_key(DES_KEY, EARLY, DerivationOptions(allow_dkga01=True))

    assert int.from_bytes(key.key, "big") == expected


@pytest.mark.parametrize(
    ("parameters", "applies"),
    [
        (EARLY, True),
        (replace(EARLY, kt=1), True),
        (replace(EARLY, kt=0), False),
        (replace(EARLY, krn=2), False),
        (replace(EARLY, pan=PAN), False),
        (replace(EARLY, pan="000001000000000082"), False),
        (replace(EARLY, kt=3), False),
        (replace(EARLY, kt=3, sgc="990405"), True),
        (replace(EARLY, kt=3, sgc="990406"), False),
    ],
)
def test_dkga01_is_for_a_few_old_meters(parameters: KeyParameters, applies: bool) -> None:
    assert dkga01_applies(parameters) == applies
    if not applies:
        with refused("dkga01_not_for_this_meter"):
            derive_decoder_key(DES_KEY, parameters, DerivationOptions(allow_dkga01=True))


def test_check_values_identify_a_key() -> None:
    # DES of eight zero bytes under this key, and SHA-256 of 01h and the key, computed elsewhere.
    assert vending_key_check_value(bytes.fromhex("0123456789ABCDEF"), "02") == "D5D44F"
    assert vending_key_check_value(HMAC_KEY, "04") == "6C3DE4"
    with refused("bad_vending_key"):
        vending_key_check_value(DES_KEY, "04")


# --- requests and issue --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda: TokenRequest(0, 8, 1, 1, 1),
        lambda: TokenRequest(1, 3),
        lambda: TokenRequest(3, 0),
        lambda: TokenRequest(2, 16),
    ],
)
def test_a_reserved_token_cannot_be_asked_for(build: Callable[[], TokenRequest]) -> None:
    with refused("unknown_token", "subclass"):
        build()


@pytest.mark.parametrize("subclass", [3, 4, 8, 9])
def test_a_section_of_a_key_change_cannot_be_asked_for_alone(subclass: int) -> None:
    with refused("key_change_not_requested_here"):
        TokenRequest.management(subclass, value=0, tid=1, rnd=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("token_class", "0"), ("subclass", None), ("tid", "1"), ("rnd", True), ("value", "1.5")],
)
def test_a_request_holds_integers(field: str, value: object) -> None:
    stored: dict[str, Any] = {**TokenRequest.credit(0, units=1, tid=1, rnd=1).to_dict()}

    with refused("bad_token_request", field):
        TokenRequest.from_dict({**stored, field: value})


def test_a_register_may_stand_for_its_subclass() -> None:
    request = TokenRequest.credit(Register.GAS, units=1, tid=1, rnd=1)

    assert request == TokenRequest(0, 2, 1, 1, 1)
    assert type(request.subclass) is int
    assert TokenRequest(0, Register.GAS, 1, 1, 1) == request


def test_a_request_survives_being_stored() -> None:
    request = TokenRequest.credit(3, units=17, tid=99, rnd=0)

    assert TokenRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    assert request.name == "credit_time"
    with refused("unknown_field", "price"):
        TokenRequest.from_dict({**request.to_dict(), "price": 1})
    with refused("missing_field", "token_class"):
        TokenRequest.from_dict({"subclass": 1})


@pytest.mark.parametrize(("flag_index", "flag_value"), [(512, 0), (-1, 0), (0, 2)])
def test_a_flag_that_does_not_fit_is_refused(flag_index: int, flag_value: int) -> None:
    with refused("bad_flag"):
        TokenRequest.set_flag(flag_index=flag_index, flag_value=flag_value, tid=1, rnd=1)


@pytest.mark.parametrize(("token_index", "value"), [(64, 0), (-1, 0), (0, 1024), (0, -1)])
def test_an_extended_token_that_does_not_fit_is_refused(token_index: int, value: int) -> None:
    with refused("bad_extended_token"):
        TokenRequest.set_extended(token_index=token_index, value=value, tid=1, rnd=1)


CIPHER = cipher_for(derive_decoder_key(DES_KEY, OLD))


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (TokenRequest(0, 0, None, 5, 1), "missing_field", "tid"),
        (TokenRequest(0, 0, 1, None, 1), "missing_field", "rnd"),
        (TokenRequest(0, 4, None, None, 1), "missing_field", "tid"),
        (TokenRequest(2, 0, None, 5, 1), "missing_field", "tid"),
        (TokenRequest(2, 11, 1, None, 1), "missing_field", "rnd"),
        (TokenRequest(0, 0, 1 << 24, 5, 1), "tid_out_of_range", "tid"),
        (TokenRequest(0, 0, 1, 16, 1), "bad_rnd", "rnd"),
        (TokenRequest(0, 0, 1, 5, -1), "amount_negative", None),
        (TokenRequest(0, 0, 1, 5, UNITS_MAX + 1), "amount_too_large", None),
        (TokenRequest(2, 2, 1, 5, 1 << 16), "bad_value", "value"),
        (TokenRequest(2, 11, 1, 5, 1 << 16), "bad_value", "value"),
        (TokenRequest(2, 11, 1, 16, 1), "bad_rnd", "rnd"),
        (TokenRequest(2, 11, None, None, 1 << 44), "bad_value", "value"),
        (TokenRequest(1, 0, value=1 << 36), "bad_control", "control"),
        (TokenRequest(1, 1, value=1 << 28), "bad_control", "control"),
        (TokenRequest(1, 0, value=1, manufacturer_code=100), "bad_manufacturer_code", None),
        (TokenRequest(1, 1, value=1, manufacturer_code=10_000), "bad_manufacturer_code", None),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    request_: TokenRequest, code: str, field: str | None
) -> None:
    with refused(code, field):
        issue_token(CIPHER, OLD, request_)


def test_forty_four_bits_of_a_maker_pass_unchanged() -> None:
    payload = 0xABCDEF01234
    token = issue_token(CIPHER, OLD, TokenRequest(2, 15, None, None, payload))

    read = decode_digits(token.digits, CIPHER).token

    assert read is not None
    assert read.body() & (1 << 44) - 1 == payload


def test_an_issued_token_survives_being_stored_and_hides_its_digits() -> None:
    token = issue_token(CIPHER, OLD, TokenRequest.credit(0, units=1, tid=5871715, rnd=5))

    assert token.digits == "23716100501183194197"
    assert token.grouped == "2371 6100 5011 8319 4197"
    assert IssuedToken.from_dict(json.loads(json.dumps(token.to_dict()))) == token
    assert token.digits not in repr(token)
    assert token.name == "credit_electricity"


def test_nothing_is_issued_after_the_keys_expiry() -> None:
    expiring = replace(OLD, ken=89)

    assert issue_token(CIPHER, expiring, TokenRequest.credit(0, units=1, tid=0x59FFFF, rnd=5))
    for request in (
        TokenRequest.credit(0, units=1, tid=0x5A0000, rnd=5),
        TokenRequest.management(0, value=1, tid=0x5A0000, rnd=5),
    ):
        with refused("key_expired", "tid"):
            issue_token(CIPHER, expiring, request)


def test_a_default_key_carries_management_but_no_credit() -> None:
    default = replace(OLD, kt=1)

    assert issue_token(CIPHER, default, TokenRequest.management(0, value=1, tid=9, rnd=5))
    for request in (
        TokenRequest.credit(0, units=1, tid=9, rnd=5),
        TokenRequest.currency_credit(4, amount_e5=1, tid=9),
    ):
        with refused("credit_under_default_key", "kt"):
            issue_token(CIPHER, default, request)


def test_only_class_1_goes_unencrypted() -> None:
    assert encode_token(MeterTest(0, (1 << 36) - 1, 0)) == "56493153725450313471"
    assert encode_token(MeterTest(1, 1, 0)) == "01152921509036054672"
    with pytest.raises(TypeError):
        encode_token(TransferCredit(0, 5, 1, 1))


def test_an_encrypted_token_tells_its_class_only() -> None:
    decoded = decode_digits("23716100501183194197")

    assert (decoded.token_class, decoded.token, decoded.crc_right) == (0, None, None)
    assert decoded.block == 0x492083C0AE7CE455


def test_a_read_of_a_flag_is_that_of_sts_202_5() -> None:
    token = token_of(TokenRequest(1, 2, value=0xFC0000000))

    assert isinstance(token, ReadExtended)
    assert (token.token_index, token.parameter) == (63, 0)
    assert token_name(1, 2) == "read_extended"
    assert token_name(1, 5) == "reserved"


# --- key change ----------------------------------------------------------------------------------

NEW_KEY = derive_decoder_key(HMAC_KEY, replace(NEW, ti=2))


def test_key_change_tokens_are_those_of_the_worked_example() -> None:
    cipher = cipher_for(derive_decoder_key(HMAC_KEY, NEW))

    tokens = key_change_tokens(cipher, NEW, NEW_KEY, replace(NEW, ti=2), three_tokens=True)

    assert [token.digits for token in tokens] == [
        "52506022850399603630",
        "22979178279997208272",
        "39620459059615037790",
    ]


def test_the_rollover_follows_from_the_base_dates_and_can_be_overridden() -> None:
    cipher = cipher_for(derive_decoder_key(HMAC_KEY, NEW))
    later = replace(NEW, base_date=2035)

    def first(new: KeyParameters, rolls_over: bool | None) -> str:
        tokens = key_change_tokens(cipher, NEW, NEW_KEY, new, rolls_over=rolls_over)
        return tokens[0].digits

    assert first(later, None) == first(later, True) != first(later, False)
    assert first(NEW, None) == first(NEW, False) != first(NEW, True)


def test_a_meter_keeps_its_identifiers_when_the_base_date_goes_back() -> None:
    assert rollover(NEW, replace(NEW, base_date=2035))
    assert not rollover(NEW, NEW)
    assert not rollover(NEW, replace(NEW, base_date=1993))


def test_ea11_has_no_set_of_three() -> None:
    new = replace(NEW, ea=11)
    key = derive_decoder_key(HMAC_KEY, new)

    with refused("three_tokens_are_for_ea07"):
        key_change_tokens(cipher_for(key), new, key, new, three_tokens=True)


@pytest.mark.parametrize("name", ["sgc", "krn", "kt", "ti", "ken", "base_date"])
def test_a_change_is_due_when_what_the_meter_is_coded_with_differs(name: str) -> None:
    other: dict[str, Any] = {
        "sgc": "111111",
        "krn": 2,
        "kt": 1,
        "ti": 2,
        "ken": 9,
        "base_date": 2035,
    }

    assert change_due(NEW, KeyParameters.from_dict({**NEW.to_dict(), name: other[name]}))
    assert not change_due(NEW, replace(NEW, table_set="sample"))


def test_a_change_from_an_expired_key_is_fine_but_not_to_one() -> None:
    now = minute_1993_of_tid(0x5A0000, 1993)
    expired = replace(OLD, ken=89)

    check_change(expired, OLD, now)
    check_change(OLD, expired)
    with refused("key_expired"):
        check_change(OLD, expired, now)
