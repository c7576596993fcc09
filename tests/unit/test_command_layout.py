"""Commands of octets: what is written, what is read back, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.devices.checksums import Checksum
from slotmeter.devices.command_layout import Amount, CommandLayout, Digits, Fixed, Word
from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.errors import FrameError, Refused

TOKEN = "12345678901234567890"  # noqa: S105  twenty digits, no meter's token
EVERYTHING = CommandLayout(
    {
        CommandKind.READ_NOW: 0x01,
        CommandKind.CLOSE_VALVE: 0x02,
        CommandKind.SET_VALVE: (0x03, Amount(1)),
        CommandKind.SET_LOAD_LIMIT: (0x04, Amount(2, "0.1 kW", none=0xFFFF)),
        CommandKind.SET_CLOCK: (0x05, Amount(4, zero=1_577_836_800)),
        CommandKind.LOAD_TOKEN: (0x06, Digits()),
        CommandKind.SET_CREDIT_MODE: (0x07, Word({"prepaid": 1, "postpaid": 0})),
    },
    id_octets=2,
    lead=b"\xa5",
    check=Checksum.SUM8,
)


@pytest.mark.parametrize(
    ("command", "octets"),
    [
        (CommandOut(0x0102, CommandKind.READ_NOW), "a501 0102 a9"),
        (CommandOut(7, CommandKind.SET_VALVE, value=37), "a503 0007 25 d4"),
        (CommandOut(7, CommandKind.SET_LOAD_LIMIT, value=2_500), "a504 0007 0019 c9"),
        (CommandOut(7, CommandKind.SET_LOAD_LIMIT, value=0), "a504 0007 ffff ae"),
        (CommandOut(7, CommandKind.SET_CLOCK, value=1_577_836_860), "a505 0007 0000003c ed"),
        (CommandOut(7, CommandKind.LOAD_TOKEN, TOKEN), "a506 0007 12345678901234567890 fa"),
        (CommandOut(7, CommandKind.SET_CREDIT_MODE, text="prepaid"), "a507 0007 01 b4"),
    ],
)
def test_a_command_has_the_octets_of_the_table(command: CommandOut, octets: str) -> None:
    payload = bytes.fromhex(octets)

    assert EVERYTHING.encode((command,)) == payload
    assert EVERYTHING.decode(payload) == (command,)


def test_commands_follow_one_another() -> None:
    commands = (
        CommandOut(1, CommandKind.SET_VALVE, value=50),
        CommandOut(2, CommandKind.READ_NOW),
    )

    assert EVERYTHING.decode(EVERYTHING.encode(commands)) == commands


def test_no_command_is_no_octets() -> None:
    assert EVERYTHING.encode(()) == b""
    assert EVERYTHING.decode(b"") == ()


def test_of_a_long_id_the_low_octets_are_sent() -> None:
    payload = EVERYTHING.encode((CommandOut(0x123456, CommandKind.READ_NOW),))

    assert EVERYTHING.decode(payload)[0].id == 0x3456


@pytest.mark.parametrize(
    "command",
    [
        CommandOut(1, CommandKind.OPEN_VALVE),
        CommandOut(1, CommandKind.SET_VALVE, value=256),
        CommandOut(1, CommandKind.SET_VALVE, value=-1),
        CommandOut(1, CommandKind.SET_VALVE),
        CommandOut(1, CommandKind.SET_LOAD_LIMIT, value=2_550),
        CommandOut(1, CommandKind.SET_LOAD_LIMIT, value=6_553_500),  # would read as no limit
        CommandOut(1, CommandKind.SET_CLOCK, value=0),
        CommandOut(1, CommandKind.LOAD_TOKEN, "1234"),
        CommandOut(1, CommandKind.LOAD_TOKEN),
        CommandOut(1, CommandKind.SET_CREDIT_MODE, text="free"),
        CommandOut(1, CommandKind.SET_CREDIT_MODE),
    ],
    ids=repr,
)
def test_what_the_meter_cannot_take_is_refused_and_not_sent_otherwise(command: CommandOut) -> None:
    with pytest.raises(Refused) as error:
        EVERYTHING.encode((command,))

    assert error.value.code == "command_unsupported"
    assert "1234" not in error.value.message


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ("a6010102aa", "wrong_lead"),
        ("a5090007b5", "unknown_code"),
        ("a50100", "wrong_length"),
        ("a5", "unknown_code"),
        ("a5010102a8", "wrong_check"),
        ("a50600071234567890123456789f09", "not_decimal"),
        ("a507000705b8", "unknown_word"),
    ],
)
def test_octets_that_are_no_command_are_refused(octets: str, code: str) -> None:
    with pytest.raises(FrameError) as error:
        EVERYTHING.decode(bytes.fromhex(octets))

    assert error.value.code == code


@pytest.mark.parametrize(
    ("digits", "octets"),
    [
        (Digits("bcd"), "0112345678901234567890"),
        (Digits("number"), "01" + int(TOKEN).to_bytes(9, "big").hex()),
        (Digits("ascii"), "01" + TOKEN.encode().hex()),
    ],
)
def test_a_token_is_written_in_each_form(digits: Digits, octets: str) -> None:
    layout = CommandLayout({CommandKind.LOAD_TOKEN: (1, digits)})
    command = CommandOut(0, CommandKind.LOAD_TOKEN, TOKEN)

    assert layout.encode((command,)).hex() == octets
    assert layout.decode(bytes.fromhex(octets)) == (command,)


@given(
    digits=st.text("0123456789", min_size=20, max_size=20), form=st.sampled_from(["bcd", "ascii"])
)
def test_any_token_comes_back_with_its_zeros(digits: str, form: str) -> None:
    layout = CommandLayout(
        {CommandKind.LOAD_TOKEN: (1, Digits("bcd" if form == "bcd" else "ascii"))}, order="little"
    )
    command = CommandOut(0, CommandKind.LOAD_TOKEN, digits)

    assert layout.decode(layout.encode((command,))) == (command,)


def test_two_commands_of_one_code_are_refused_when_they_are_written() -> None:
    with pytest.raises(ValueError, match="twice"):
        CommandLayout({CommandKind.OPEN_VALVE: 1, CommandKind.CLOSE_VALVE: 1})


@given(payload=st.binary(max_size=40))
def test_any_octets_are_commands_or_refused(payload: bytes) -> None:
    try:
        commands = EVERYTHING.decode(payload)
    except FrameError:
        return
    assert EVERYTHING.encode(commands) == payload


BEHIND = CommandLayout({CommandKind.OPEN_RELAY: 2}, id_octets=1, slot_octets=1)


@pytest.mark.parametrize(("slot", "octets"), [(0, "020900"), (11, "02090b"), (None, "0209ff")])
def test_a_command_names_the_meter_behind_a_node_or_the_node(slot: int | None, octets: str) -> None:
    command = CommandOut(9, CommandKind.OPEN_RELAY, slot=slot)

    assert BEHIND.encode((command,)).hex() == octets
    assert BEHIND.decode(bytes.fromhex(octets)) == (command,)


@pytest.mark.parametrize(("layout", "slot"), [(BEHIND, 255), (EVERYTHING, 0)])
def test_a_slot_that_cannot_be_named_is_refused(layout: CommandLayout, slot: int) -> None:
    kind = min(layout.kinds)

    with pytest.raises(Refused, match="slots below"):
        layout.encode((CommandOut(9, kind, slot=slot),))


# --- one code for several commands --------------------------------------------------------------

BY_PERCENT = CommandLayout(
    {
        CommandKind.CLOSE_VALVE: (0x32, Fixed(b"\x00")),
        CommandKind.OPEN_VALVE: (0x32, Fixed(b"\x64")),
        CommandKind.SET_VALVE: (0x32, Amount(1)),
    },
    id_octets=1,
)


@pytest.mark.parametrize(
    ("command", "octets"),
    [
        (CommandOut(7, CommandKind.CLOSE_VALVE), "320700"),
        (CommandOut(7, CommandKind.OPEN_VALVE), "320764"),
        (CommandOut(7, CommandKind.SET_VALVE, value=40), "320728"),
    ],
)
def test_commands_of_one_code_are_told_apart_by_what_is_fixed(
    command: CommandOut, octets: str
) -> None:
    assert BY_PERCENT.encode((command,)) == bytes.fromhex(octets)
    assert BY_PERCENT.decode(bytes.fromhex(octets)) == (command,)


def test_a_value_that_is_another_command_is_refused_with_its_name() -> None:
    with pytest.raises(Refused, match="open_valve for this value") as error:
        BY_PERCENT.encode((CommandOut(7, CommandKind.SET_VALVE, value=100),))

    assert error.value.code == "command_unsupported"


def test_other_octets_than_the_fixed_ones_are_no_command() -> None:
    layout = CommandLayout({CommandKind.CLOSE_VALVE: (0x32, Fixed(b"\x00"))})

    with pytest.raises(FrameError) as error:
        layout.decode(b"\x32\x01")

    assert error.value.code == "unknown_code"


@pytest.mark.parametrize(
    "other",
    [Fixed(b"\x00"), Fixed(b"\x00\x00")],
    ids=["the same octets", "another length"],
)
def test_a_code_that_says_two_things_is_refused(other: Fixed) -> None:
    with pytest.raises(ValueError, match="code 50"):
        CommandLayout(
            {CommandKind.CLOSE_VALVE: (50, Fixed(b"\x00")), CommandKind.READ_NOW: (50, other)}
        )
