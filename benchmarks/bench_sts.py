"""How many STS tokens one core makes, in CPU time, next to the limits we hold ourselves to.

Run it as ``python benchmarks/bench_sts.py``. Each figure is the best of some rounds, so that a busy
machine disturbs it little; every token made is checked on the way, or a sample of them in the
batch.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from slotmeter.vending.sts import (
    UNITS_MAX,
    DecoderKey,
    KeyParameters,
    ResultCode,
    StsMeter,
    TokenRequest,
    cipher_for,
    decode_digits,
    derive_decoder_key,
    issue_token,
    pan_of_drn,
)
from slotmeter.vending.sts.batch import issue_credit_batch
from slotmeter.vending.sts.meter_state import MeterConfig
from slotmeter.vending.sts.pan import luhn_digit
from slotmeter.vending.sts.results import Register

DES_KEY = bytes.fromhex("ABABABABABABABAB")
HMAC_KEY = bytes.fromhex("ABABABABABABABAB949494949494949401234567")
TOKENS = 20_000
BATCH = 200_000
ROUNDS = 3
SEED = 62055


@dataclass(frozen=True)
class Figure:
    name: str
    per_second: int
    limit: int | None


def best_rate(count: int, work: Callable[[], None]) -> int:
    """Return how many of ``count`` things a second of CPU time does, in the best round."""
    fastest_ns: int | None = None
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        work()
        taken = time.process_time_ns() - start
        fastest_ns = taken if fastest_ns is None else min(fastest_ns, taken)
    return count * 1_000_000_000 // max(fastest_ns or 0, 1)


def meters(dkga: str, ea: int = 7) -> list[KeyParameters]:
    """Parameters of different meters, as a database would give them."""
    base_date = 1993 if dkga == "02" else 2014
    first = KeyParameters("600727000000000009", "123456", 1, 2, 1, 255, base_date, ea, dkga)
    pans = []
    for serial in range(TOKENS):
        body = f"07{serial:08d}"
        pans.append(pan_of_drn(body + luhn_digit(body)))
    return [replace(first, pan=pan) for pan in pans]


def cached_key() -> int:
    """Whole issues for one meter: request, body, CRC, encryption, splice, 20 digits."""
    parameters = meters("04")[0]
    cipher = cipher_for(derive_decoder_key(HMAC_KEY, parameters))
    made: list[str] = []

    def work() -> None:
        made.clear()
        for n in range(TOKENS):
            request = TokenRequest.credit(0, units=n, tid=n, rnd=5)
            made.append(issue_token(cipher, parameters, request).digits)

    rate = best_rate(TOKENS, work)
    for n, digits in enumerate(made):
        token = decode_digits(digits, cipher).token
        assert token is not None, n
        assert token.tid == n
    return rate


def new_meter_each_time(dkga: str, vending_key: bytes, ea: int = 7, count: int = TOKENS) -> int:
    """Whole issues, each for another meter: decoder key, key schedule, token."""
    parameters = meters(dkga, ea)[:count]
    made: list[str] = []

    def work() -> None:
        made.clear()
        for n, meter in enumerate(parameters):
            cipher = cipher_for(derive_decoder_key(vending_key, meter))
            request = TokenRequest.credit(0, units=n, tid=n, rnd=5)
            made.append(issue_token(cipher, meter, request).digits)

    rate = best_rate(count, work)
    assert len(set(made)) == count
    for n in range(0, count, 97):
        cipher = cipher_for(derive_decoder_key(vending_key, parameters[n]))
        token = decode_digits(made[n], cipher).token
        assert token is not None, n
        assert token.tid == n
    return rate


def numpy_batch(different_keys: bool) -> int:
    """Bulk issue, under one key or under another for each token."""
    draw = np.random.default_rng(SEED)
    keys = draw.integers(0, 1 << 64, BATCH if different_keys else 1, dtype=np.uint64)
    tids = draw.integers(0, 1 << 24, BATCH)
    units = draw.integers(0, UNITS_MAX + 1, BATCH)
    rnds = draw.integers(0, 16, BATCH)
    made: list[str] = []

    def work() -> None:
        batch = issue_credit_batch(keys, subclass=0, tids=tids, rnds=rnds, units=units)
        made[:] = batch.digits.astype("U20").tolist()

    rate = best_rate(BATCH, work)
    for n in random.Random(SEED).sample(range(BATCH), 500):  # a sample, not a secret
        key = int(keys[n if different_keys else 0]).to_bytes(8, "big")
        token = decode_digits(made[n], cipher_for(DecoderKey(key, 7))).token
        assert token is not None, n
        assert token.tid == tids[n]
    return rate


def meter_entry() -> int:
    """The meter's side: entries of good tokens."""
    parameters = meters("04")[0]
    key = derive_decoder_key(HMAC_KEY, parameters)
    cipher = cipher_for(key)
    digits = [
        issue_token(cipher, parameters, TokenRequest.credit(0, units=1, tid=n, rnd=5)).digits
        for n in range(1, 5001)
    ]
    config = MeterConfig(parameters.pan, frozenset({Register.ELECTRICITY}))

    def work() -> None:
        meter = StsMeter.made(config, parameters, key, 0)
        for token in digits:
            assert meter.enter(token).code is ResultCode.ACCEPT

    return best_rate(len(digits), work)


def figures() -> list[Figure]:
    return [
        Figure("EA07 tokens, cached key", cached_key(), 60_000),
        Figure("EA07, new meter each time, DKGA02", new_meter_each_time("02", DES_KEY), 20_000),
        Figure("EA07, new meter each time, DKGA04", new_meter_each_time("04", HMAC_KEY), 30_000),
        Figure("EA07 numpy batch, one key", numpy_batch(different_keys=False), 300_000),
        Figure("EA07 numpy batch, a key for each token", numpy_batch(different_keys=True), 300_000),
        Figure("EA11, new meter each time", new_meter_each_time("04", HMAC_KEY, 11, 2000), None),
        Figure("EA07 tokens accepted by a meter", meter_entry(), None),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="write JSON for scripts")
    options = parser.parse_args()
    results = figures()
    if options.json:
        print(json.dumps([asdict(figure) for figure in results]))
        return
    print(f"STS tokens per second of CPU time, one core, best of {ROUNDS} rounds")
    for figure in results:
        limit = "" if figure.limit is None else f"at least {figure.limit:>9,}"
        verdict = ""
        if figure.limit is not None:
            verdict = "  ok" if figure.per_second >= figure.limit else "  BELOW"
        print(f"  {figure.name:<40}{figure.per_second:>11,}   {limit}{verdict}")


if __name__ == "__main__":
    main()
