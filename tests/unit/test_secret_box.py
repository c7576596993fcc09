"""The box for secrets of integrations: what it seals, only the same vault and owner can open."""

from __future__ import annotations

import pytest

from slotmeter.errors import Unavailable
from slotmeter.security.secret_box import VaultSecretBox
from slotmeter.testing.sample_safe import sample_secret_box

CLEAR = "correct horse"


def test_what_was_sealed_is_opened_for_the_same_owner() -> None:
    sealed = sample_secret_box().seal("entry town", CLEAR)

    assert sample_secret_box().open("entry town", sealed) == CLEAR


def test_a_sealed_text_shows_nothing_and_looks_different_each_time() -> None:
    box = sample_secret_box()
    one, two = box.seal("entry town", CLEAR), box.seal("entry town", CLEAR)

    assert one != two
    assert CLEAR not in one


def test_a_sealed_text_cannot_be_moved_to_another_owner() -> None:
    sealed = sample_secret_box().seal("entry town", CLEAR)

    with pytest.raises(Unavailable) as caught:
        sample_secret_box().open("entry other", sealed)

    assert caught.value.code == "secret_unreadable"
    assert "entry other" in caught.value.message


@pytest.mark.parametrize("sealed", ["", "1", "1.", "2.QUJD", "1.*", "1.QUJD"])
def test_what_was_never_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(Unavailable):
        sample_secret_box().open("entry town", sealed)


def test_a_newer_data_key_seals_and_an_older_one_still_opens() -> None:
    old = VaultSecretBox({1: b"1" * 32})
    both = VaultSecretBox({1: b"1" * 32, 2: b"2" * 32})

    assert both.open("device 1", old.seal("device 1", CLEAR)) == CLEAR
    assert both.seal("device 1", CLEAR).startswith("2.")
