"""Bulk issue on arrays makes the very tokens that single issue makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotmeter.errors import Refused
from slotmeter.vending.sts import (
    SAMPLE,
    UNITS_MAX,
    DecoderKey,
    KeyParameters,
    TokenRequest,
    cipher_for,
    decode_digits,
    issue_token,
)
from slotmeter.vending.sts.batch import issue_credit_batch
from slotmeter.vending.sts.tokens import TransferCredit

PARAMETERS = KeyParameters("600727000000000009", "201457", krn=1, kt=2, ti=1)
KEY = 0xE653341F9D5BF36F
CIPHER = cipher_for(DecoderKey(KEY.to_bytes(8, "big"), 7))


@given(
    st.integers(0, 3),
    st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1),
            st.integers(0, (1 << 24) - 1),
            st.integers(0, 15),
            st.integers(0, UNITS_MAX),
        ),
        max_size=20,
    ),
)
def test_a_batch_makes_the_tokens_that_single_issue_makes(
    subclass: int, rows: list[tuple[int, int, int, int]]
) -> None:
    keys = np.array([row[0] for row in rows], dtype=np.uint64)
    tids, rnds, units = (np.array([row[n] for row in rows], dtype=np.int64) for n in (1, 2, 3))

    batch = issue_credit_batch(
        keys, subclass=subclass, tids=tids, rnds=rnds, units=units, tables=SAMPLE
    )

    for n, (key, tid, rnd, amount) in enumerate(rows):
        request = TokenRequest.credit(subclass, units=amount, tid=tid, rnd=rnd)
        cipher = cipher_for(DecoderKey(key.to_bytes(8, "big"), 7), SAMPLE)
        single = issue_token(cipher, PARAMETERS, request)
        assert batch.digits[n] == single.digits.encode()
        assert (batch.value_fields[n], batch.values[n]) == (single.value_field, single.value)
    assert len(batch.digits) == len(rows)


def test_a_batch_larger_than_its_parts_is_whole() -> None:
    tids = np.arange(10_000)

    batch = issue_credit_batch(KEY, subclass=0, tids=tids + 5871715, rnds=5, units=1)

    assert batch.digits[0] == b"23716100501183194197"
    assert len(set(batch.digits.tolist())) == 10_000
    last = decode_digits(batch.digits[-1].decode(), CIPHER).token
    assert last == TransferCredit(0, 5, 5871715 + 9_999, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subclass": 4}, "subclass"),
        ({"tids": np.array([1 << 24, 0])}, "tids"),
        ({"tids": np.array([-1, 0])}, "tids"),
        ({"tids": np.array([1.5, 0])}, "tids"),
        ({"rnds": 16}, "rnds"),
        ({"rnds": np.array([1, 2, 3])}, "rnds"),
        ({"units": UNITS_MAX + 1}, "units"),
        ({"decoder_keys": np.array([1, 2, 3], dtype=np.uint64)}, "decoder_keys"),
    ],
)
def test_a_batch_with_a_wrong_column_is_refused(change: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {
        "decoder_keys": 1,
        "subclass": 0,
        "tids": np.array([1, 2]),
        "rnds": 5,
        "units": 1,
    }

    with pytest.raises(Refused) as refusal:
        issue_credit_batch(**{**good, **change})

    assert (refusal.value.code, refusal.value.field) == ("bad_batch", field)
