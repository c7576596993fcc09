"""Tables, ciphers, the CRC and the 66 bits, by example and against the standard's own words."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.vending.sts import PRODUCTION, SAMPLE, TableSet, parse_digits, parse_table_set
from slotmeter.vending.sts.crc import crc_bytes, crc_field
from slotmeter.vending.sts.frame import TOKEN_MAX, digits_of, join_class, split_class
from slotmeter.vending.sts.misty1 import Misty1
from slotmeter.vending.sts.sta import Sta

BLOCKS = st.integers(0, 2**64 - 1)


def refused(code: str) -> pytest.RaisesExc[Refused]:
    return pytest.RaisesExc(Refused, check=lambda error: error.code == code)


# --- tables and ciphers --------------------------------------------------------------------------

OWN = {
    "name": "own",
    "s0": list(PRODUCTION.s1),
    "s1": list(PRODUCTION.s0),
    "p": list(SAMPLE.p),
}


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump, lambda own: "\t" + json.dumps(own)])
def test_a_sites_own_tables_are_read_from_json_or_yaml(write: Callable[[object], str]) -> None:
    tables = parse_table_set(write(OWN))

    assert tables == TableSet("own", PRODUCTION.s1, PRODUCTION.s0, SAMPLE.p)
    assert Sta(b"12345678", tables).encrypt(7) != Sta(b"12345678").encrypt(7)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 41}, "name"),
        ({"name": "production"}, "name"),
        ({"s0": [0] * 16}, "s0"),
        ({"s0": list(range(15))}, "s0"),
        ({"s1": [*range(15), "15"]}, "s1"),
        ({"s1": [*range(15), True]}, "s1"),
        ({"s1": "0 1 2"}, "s1"),
        ({"p": list(range(1, 65))}, "p"),
        ({"p": {}}, "p"),
        ({"q": 1}, "q"),
    ],
)
def test_wrong_tables_are_refused_with_the_field_at_fault(
    change: dict[str, object], field: str
) -> None:
    with refused("bad_table_set") as refusal:
        parse_table_set(json.dumps({**OWN, **change}))

    assert refusal.value.field == field


@pytest.mark.parametrize("name", ["name", "s0", "s1", "p"])
def test_missing_tables_are_named(name: str) -> None:
    with refused("bad_table_set") as refusal:
        parse_table_set(json.dumps({key: value for key, value in OWN.items() if key != name}))

    assert refusal.value.field == name


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "a: [", "!!python/none", "name: own\n" * 5000, "[" * 5000]
)
def test_a_text_that_holds_no_tables_is_refused(text: str) -> None:
    with refused("bad_table_set"):
        parse_table_set(text)


@given(st.binary(min_size=8, max_size=8), BLOCKS, st.sampled_from([PRODUCTION, SAMPLE]))
def test_sta_decrypts_what_it_encrypts(key: bytes, block: int, tables: TableSet) -> None:
    cipher = Sta(key, tables)

    assert cipher.decrypt(cipher.encrypt(block)) == block
    assert cipher.encrypt(cipher.decrypt(block)) == block


def sta_by_the_book(block: int, key: int, tables: TableSet) -> int:
    """Encrypt as the standard describes it, a nibble and a bit at a time."""
    mask = (1 << 64) - 1
    key = ~key & mask
    key = (key >> 12 | key << 52) & mask
    for _ in range(16):
        substituted = 0
        for nibble in range(16):
            table = tables.s1 if key >> 4 * nibble + 3 & 1 else tables.s0
            substituted |= table[block >> 4 * nibble & 15] << 4 * nibble
        block = sum((substituted >> bit & 1) << tables.p[bit] for bit in range(64))
        key = (key << 1 | key >> 63) & mask
    return block


@given(BLOCKS, BLOCKS, st.sampled_from([PRODUCTION, SAMPLE]))
def test_merged_tables_do_what_the_book_says(key: int, block: int, tables: TableSet) -> None:
    expected = sta_by_the_book(block, key, tables)

    assert Sta(key.to_bytes(8, "big"), tables).encrypt(block) == expected


@given(st.binary(min_size=16, max_size=16), BLOCKS)
def test_misty1_decrypts_what_it_encrypts(key: bytes, block: int) -> None:
    cipher = Misty1(key)

    assert cipher.decrypt(cipher.encrypt(block)) == block


def test_misty1_gives_the_second_block_of_rfc_2994() -> None:
    cipher = Misty1(bytes.fromhex("00112233445566778899AABBCCDDEEFF"))

    assert cipher.encrypt(0xFEDCBA9876543210) == 0x04B68240B13BE95D


# --- CRC and the 66 bits -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [("00004A2D900FF2", 0x0FFA), ("000B19EB230100", 0xC207), ("0005C02A552710", 0x1970)],
)
def test_the_crc_is_that_of_the_published_examples(data: str, field: int) -> None:
    octets = bytes.fromhex(data)

    assert crc_bytes(octets) == field
    assert crc_field(octets[0], int.from_bytes(octets[1:], "big")) == field


@given(st.integers(0, 3), st.integers(0, 2**48 - 1))
def test_the_fast_crc_is_that_of_the_bytes(token_class: int, body: int) -> None:
    currency = token_class == 0 and body >> 44 in (4, 5, 6, 7)
    octets = (token_class << 48 | body).to_bytes(7, "big") + (b"\x01" if currency else b"")

    assert crc_field(token_class, body) == crc_bytes(octets)


@given(BLOCKS, st.integers(0, 3))
def test_class_and_block_come_back_from_the_digits(block: int, token_class: int) -> None:
    digits = digits_of(join_class(block, token_class))

    assert len(digits) == 20
    assert split_class(parse_digits(digits)) == (token_class, block)


def test_the_class_displaces_bits_28_and_27_to_the_top() -> None:
    assert join_class(0x492083C0AE7CE455, 0) == 0x1492083C0A67CE455


@pytest.mark.parametrize(
    "digits",
    ["", "1" * 19, "1" * 21, "1" * 19 + "x", str(TOKEN_MAX + 1), "\uff11" * 20, "-" + "1" * 19],
)
def test_what_is_not_a_token_is_refused(digits: str) -> None:
    with refused("bad_token_digits"):
        parse_digits(digits)


def test_the_largest_token_is_a_token() -> None:
    assert parse_digits(str(TOKEN_MAX)) == TOKEN_MAX
