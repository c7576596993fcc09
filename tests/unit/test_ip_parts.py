"""The pure parts of the medium for IP networks: envelopes, arrays, who is awake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter_ip.envelope import HEAD_BYTES_MAX, make_head, new_nonce, opened, signed_text
from slotmeter_ip.handing_in import parts_of
from slotmeter_ip.presence import DEVICES_MAX, Presence

MAC = bytes(range(32))


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


# --- envelopes ----------------------------------------------------------------------------------


@given(payload=st.binary(max_size=2_000), time_s=st.integers(0, 10**12 - 1))
def test_what_is_put_into_an_envelope_comes_out(payload: bytes, time_s: int) -> None:
    nonce = new_nonce()

    envelope = opened("t", make_head(time_s, nonce, MAC) + payload)

    assert envelope is not None
    assert (envelope.payload, envelope.mac) == (payload, MAC)
    assert envelope.text == signed_text("t", time_s, nonce, payload)


@given(message=st.binary(max_size=300))
def test_whatever_comes_is_an_envelope_or_none(message: bytes) -> None:
    envelope = opened("t", message)

    assert envelope is None or message.endswith(envelope.payload)


def test_topic_time_nonce_and_payload_cannot_be_moved_into_each_other() -> None:
    texts = {
        signed_text("a", 1, "n", b"p"),
        signed_text("a\n1", 1, "n", b"p"),
        signed_text("a", 11, "n", b"p"),
        signed_text("a", 1, "nn", b"p"),
        signed_text("a", 1, "n", b"\np"),
    }

    assert len(texts) == 5


@pytest.mark.parametrize(
    "head",
    [
        b"S2 1 abcdefgh " + 64 * b"0",
        b"S1 1 short " + 64 * b"0",
        b"S1 x abcdefgh " + 64 * b"0",
        b"S1 1 abcdefgh " + 63 * b"0",
        b"S1 1 abcdefgh " + 64 * b"0" + b" ",
        b"S1 1 abcdefgh " + HEAD_BYTES_MAX * b"0",
    ],
)
def test_a_head_that_is_not_of_the_form_is_none(head: bytes) -> None:
    assert opened("t", head + b"\n{}") is None


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        (b'{"a":[1,2]}', [b'{"a":[1,2]}']),
        (b'[{"a": 1},\n2]', [b'{"a": 1}', b"2"]),
        (b' \n[ {"a":"]"} ]', [b'{"a":"]"}']),
        (b"[1,", [b"[1,"]),
        (b"[1]x", [b"[1]x"]),
        (b"[\xff]", [b"[\xff]"]),
        (b"", [b""]),
        (b"\x01", [b"\x01"]),
    ],
)
def test_an_array_is_its_elements_and_anything_else_is_itself(
    payload: bytes, parts: list[bytes]
) -> None:
    assert parts_of(payload, 10) == parts


def test_deep_nesting_does_no_harm() -> None:
    payload = b"[" * 20_000

    assert parts_of(payload, 10) == [payload]


@pytest.mark.parametrize(
    ("payload", "code"), [(b"[]", "no_frames"), (b"[1,2,3]", "too_many_frames")]
)
def test_an_array_of_none_or_too_many_is_refused(payload: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parts_of(payload, 2)

    assert caught.value.code == code


# --- who is awake -------------------------------------------------------------------------------


def test_a_device_is_awake_for_a_while_after_it_spoke() -> None:
    clock = Seconds()
    presence = Presence(clock, awake_s=60, per_minute_max=10)

    unknown = presence.is_awake("m")
    presence.heard("m")
    clock.now_s += 59
    soon = presence.is_awake("m")
    clock.now_s += 1
    late = presence.is_awake("m")

    assert (unknown, soon, late) == (False, True, False)


def test_a_device_that_says_it_is_online_is_awake_until_it_says_otherwise() -> None:
    clock = Seconds()
    presence = Presence(clock, awake_s=0, per_minute_max=10)

    presence.said("m", online=True)
    clock.now_s += 100_000
    online = presence.is_awake("m")
    presence.said("m", online=False)

    assert (online, presence.is_awake("m")) == (True, False)


def test_a_device_may_speak_so_often_in_each_minute() -> None:
    clock = Seconds()
    presence = Presence(clock, awake_s=0, per_minute_max=2)

    first = [presence.heard("m") for _ in range(3)]
    clock.now_s += 60
    second = [presence.heard("m") for _ in range(3)]

    assert first == second == [True, True, False]


def test_a_device_is_asked_again_once_when_its_lease_is_over_and_only_if_awake() -> None:
    clock = Seconds()
    presence = Presence(clock, awake_s=0, per_minute_max=10)
    for device in ("awake", "asleep"):
        presence.ask_again(device, 70)
    presence.said("awake", online=True)

    early = presence.due_again()
    clock.now_s += 70
    due = presence.due_again()

    assert (early, due, presence.due_again()) == ([], ["awake"], [])


def test_devices_not_heard_for_longest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slotmeter_ip.presence.DEVICES_MAX", 2)
    presence = Presence(Seconds(), awake_s=60, per_minute_max=10)

    for device in ("a", "b", "a", "c"):
        presence.heard(device)

    assert DEVICES_MAX > 2
    assert presence.count == 2
    assert [presence.is_awake(device) for device in "abc"] == [True, False, True]
