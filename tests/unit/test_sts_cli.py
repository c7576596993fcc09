"""``slotmeter conformance sts`` and ``slotmeter token decode`` as a user meets them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.vending.sts import (
    PRODUCTION,
    DecoderKey,
    KeyParameters,
    TableSet,
    TokenRequest,
    cipher_for,
    encode_token,
    key_change_tokens,
    token_of,
)

FILE = Path(__file__).resolve().parents[1] / "vectors" / "sts.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
KEY = "E653341F9D5BF36F"
KEY_128 = "929BD3A415C9420A05EC5EE9F3CE91C3"
DIGITS = "23716100501183194197"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call it with the arguments for exit code, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def vectors(tmp_path: Path) -> Callable[[object], Path]:
    """Call it with a document, or text, for a file that holds it."""

    def write(document: object) -> Path:
        path = tmp_path / "vectors.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def with_change(number: int, part: str, name: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["vectors"][number][part][name] = value
    return document


# --- conformance ---------------------------------------------------------------------------------


def test_the_published_vectors_pass(run: Run) -> None:
    code, out, _ = run("conformance", "sts", "--vectors", FILE)

    assert code == 0
    assert out.splitlines()[-1] == "288 passed, 0 failed"
    assert "clear_credit                                 22       0" in out


def test_the_published_vectors_pass_for_a_script(run: Run) -> None:
    code, out, _ = run("conformance", "sts", "--vectors", FILE, "--json")

    result = json.loads(out)
    assert code == 0
    assert (result["passed"], result["failed"], result["failures"]) == (288, 0, [])
    assert result["kinds"]["tid"] == {"passed": 1, "failed": 0}
    assert sum(kind["passed"] for kind in result["kinds"].values()) == 288


@pytest.mark.parametrize("number", [0, 100, 191, 287])
def test_one_changed_digit_fails_and_names_its_vector(
    run: Run, vectors: Callable[[object], Path], number: int
) -> None:
    vector = DOCUMENT["vectors"][number]
    name, right = next(iter(vector["expected"].items()))
    wrong = right + 1 if isinstance(right, int) else right
    if isinstance(right, str):
        wrong = ("1" if right[0] != "1" else "2") + right[1:]
    elif isinstance(right, list):
        wrong = [right[0], right[1][:-1] + ("0" if right[1][-1] != "0" else "1")]
    document = with_change(number, "expected", name, wrong)

    code, out, _ = run("conformance", "sts", "--vectors", vectors(document))

    assert code == 1
    assert out.splitlines()[-1] == "287 passed, 1 failed"
    assert f"{vector['id']} ({vector['kind']})" in out
    assert f"{name}: expected {wrong}" in out
    assert f"got {right}" in out


def test_only_the_first_failures_are_shown(run: Run, vectors: Callable[[object], Path]) -> None:
    document = copy.deepcopy(DOCUMENT)
    for vector in document["vectors"]:
        vector["expected"] = {"tid": 1} if "tid" in vector["expected"] else vector["expected"]
        vector["inputs"]["weather"] = "fine"
    failing = sum("tid" in vector["expected"] for vector in document["vectors"])

    code, out, _ = run("conformance", "sts", "--vectors", vectors(document), "--show", 3)

    assert code == 1
    assert out.count("expected 1\n") == 3
    assert f"and {failing - 3} more failed" in out
    assert "inputs that play no part in 288 vectors" in out
    assert out.splitlines()[-1] == f"{288 - failing} passed, {failing} failed"


def test_failures_are_told_to_a_script(run: Run, vectors: Callable[[object], Path]) -> None:
    document = with_change(0, "expected", "tid", 7)

    code, out, _ = run("conformance", "sts", "--vectors", vectors(document), "--json")

    right = DOCUMENT["vectors"][0]["expected"]["tid"]
    assert code == 1
    assert json.loads(out)["failures"] == [
        {
            "id": DOCUMENT["vectors"][0]["id"],
            "kind": DOCUMENT["vectors"][0]["kind"],
            "differences": [{"field": "tid", "expected": 7, "got": right}],
        }
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"vectors": [*DOCUMENT["vectors"], {"id": "x1", "kind": "new"}]},
            "vector x1, kind: 'new'",
        ),
        (with_change(5, "expected", "colour", "red"), "vector sts-s006, expected.colour"),
        (with_change(5, "inputs", "krn", None), "vector sts-s006, inputs.krn"),
        ({"vectors": [{"id": "x1", "kind": "tid", "expected": {"tid": 1}}]}, "x1, inputs: it is"),
        ({"vectors": [{"id": "x1", "kind": "tid", "inputs": {}}]}, "x1, expected: it is missing"),
        ({"vectors": [{"kind": "tid"}]}, "vector number 1 has no id"),
        ({"vectors": [{"id": "x1", "kind": ["tid"]}]}, "vector x1, kind"),
        ({"vectors": ["x1"]}, "vector number 1 is not an object"),
        ({"vectors": []}, "holds no vectors"),
        ({"vectors": {}}, 'a list "vectors"'),
        ([], 'a list "vectors"'),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
    ids=[
        "kind",
        "expected field",
        "input",
        "no inputs",
        "nothing expected",
        "no id",
        "kind no string",
        "no object",
        "empty",
        "no list",
        "list",
        "cut",
        "deep",
    ],
)
def test_what_cannot_be_run_is_refused_with_its_place(
    run: Run, vectors: Callable[[object], Path], document: object, said: str
) -> None:
    code, out, err = run("conformance", "sts", "--vectors", vectors(document))

    assert code == 2
    assert out == ""
    assert said in err


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    code, _, err = run("conformance", "sts", "--vectors", tmp_path / "none.json")

    assert code == 2
    assert "none.json cannot be read: No such file" in err


@pytest.mark.parametrize("arguments", [(), ("sts",), ("gas", "--vectors", "x")])
def test_wrong_usage_of_conformance_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run("conformance", *arguments)

    assert code == 2
    assert "usage" in err


# --- token decode --------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[[str], Path]:
    """Call it with hex for a private file that holds it."""

    def write(text: str) -> Path:
        path = tmp_path / "meter.key"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


@pytest.mark.parametrize(
    "typed",
    [
        ("56493153725450313471",),
        ("5649", "3153", "7254", "5031", "3471"),
        ("5649-3153-7254-5031-3471",),
        ("5649 3153 7254", "50313471"),
    ],
)
def test_a_class_1_token_is_told_in_clear(run: Run, typed: tuple[str, ...]) -> None:
    code, out, _ = run("token", "decode", *typed)

    assert code == 0
    assert "5649 3153 7254 5031 3471" in out
    assert "30FFFFFFFEF005EFF" in out
    assert "every test that the meter has" in out
    assert "any manufacturer" in out
    assert out.splitlines()[-1].split() == ["CRC", "16", "5EFF", "right"]


def test_credit_without_a_key_tells_what_cannot_be_known(run: Run) -> None:
    code, out, _ = run("token", "decode", DIGITS)

    assert code == 0
    assert "encrypted with the meter's key" in out
    assert "--decoder-key-file" in out


def test_credit_with_a_key_is_told_field_by_field(
    run: Run, key_file: Callable[[str], Path]
) -> None:
    path = key_file(KEY.lower() + "\n")

    code, out, err = run(
        "token", "decode", DIGITS, "--decoder-key-file", path, "--base-date", 1993, "--ea", "07"
    )

    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert (code, err) == (0, "")
    assert lines["SubClass"][1:] == ["4", "0", "credit", "electricity"]
    assert lines["RND"][1:3] == ["4", "5"]
    assert lines["TID"][1:] == ["24", "599863", "2004-03-01", "13:55", "UTC"]
    assert lines["Amount"][1:] == ["16", "0001", "0.1", "kWh"]
    assert lines["CRC"][1:] == ["16", "19E6", "right"]


def test_without_a_base_date_every_possible_time_is_told(
    run: Run, key_file: Callable[[str], Path]
) -> None:
    _, out, _ = run("token", "decode", DIGITS, "--decoder-key-file", key_file(KEY))

    for year, base in ((2004, 1993), (2025, 2014), (2046, 2035)):
        assert f"{year}-03-01 13:55 UTC if the base date is {base}" in out


def test_a_wrong_digit_is_told_and_ends_with_1(run: Run, key_file: Callable[[str], Path]) -> None:
    in_clear = run("token", "decode", "56493153725450313470", "--json")
    encrypted = run("token", "decode", DIGITS[:-1] + "8", "--decoder-key-file", key_file(KEY))

    assert in_clear[0] == encrypted[0] == 1
    assert json.loads(in_clear[1])["crc_right"] is False
    assert "for another meter or another key" in encrypted[1]


def test_class_3_is_told_to_be_reserved(run: Run, key_file: Callable[[str], Path]) -> None:
    code, out, _ = run("token", "decode", f"{3 << 27:020d}", "--decoder-key-file", key_file(KEY))

    assert code == 0
    assert "Class 3 is reserved" in out


@pytest.mark.parametrize(
    ("digits", "said"),
    [
        ("1234", "20 digits, got 4"),
        ("1" * 21, "20 digits, got 21"),
        ("9" * 20, "no token is above"),
        ("abcdefghijklmnopqrst", "20 digits"),
    ],
)
def test_what_is_not_a_token_is_refused(run: Run, digits: str, said: str) -> None:
    code, out, err = run("token", "decode", digits)

    assert (code, out) == (2, "")
    assert said in err
    assert digits not in err


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("00", (), "16 or 32 hex digits"),
        ("not hex", (), "16 or 32 hex digits"),
        (KEY, ("--ea", "11"), "must hold 32 hex digits"),
        (KEY_128, ("--ea", "7"), "must hold 16 hex digits"),
        (" " * 5000, (), "more than 4096 bytes"),
        (KEY, ("--tables", "nowhere.json"), "nowhere.json cannot be read"),
    ],
)
def test_a_key_file_that_does_not_fit_is_refused(
    run: Run, key_file: Callable[[str], Path], text: str, options: tuple[str, ...], said: str
) -> None:
    code, _, err = run("token", "decode", DIGITS, "--decoder-key-file", key_file(text), *options)

    assert code == 2
    assert said in err
    assert KEY not in err


def test_a_key_file_that_is_missing_or_not_text_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "meter.key"
    missing = run("token", "decode", DIGITS, "--decoder-key-file", path)
    path.write_bytes(b"\xff\xfe")
    binary = run("token", "decode", DIGITS, "--decoder-key-file", path)

    assert (missing[0], binary[0]) == (2, 2)
    assert "cannot be read" in missing[2]
    assert "is not text" in binary[2]


def test_a_key_file_that_others_can_read_is_warned_of(
    run: Run, key_file: Callable[[str], Path]
) -> None:
    path = key_file(KEY)
    path.chmod(0o644)

    code, _, err = run("token", "decode", DIGITS, "--decoder-key-file", path)

    assert code == 0
    assert "chmod 600" in err


def test_a_sites_own_tables_are_read_from_their_file(
    run: Run, key_file: Callable[[str], Path], tmp_path: Path
) -> None:
    own = TableSet("own", PRODUCTION.s1, PRODUCTION.s0, PRODUCTION.p)
    tables = tmp_path / "own.yaml"
    tables.write_text(f"name: own\ns0: {[*own.s0]}\ns1: {[*own.s1]}\np: {[*own.p]}\n")
    cipher = cipher_for(DecoderKey(bytes.fromhex(KEY), 7), own)
    digits = encode_token(token_of(TokenRequest.credit(1, units=125, tid=7, rnd=3)), cipher)

    code, out, _ = run(
        "token", "decode", digits, "--decoder-key-file", key_file(KEY), "--tables", tables
    )

    assert code == 0
    assert "12.5 m3" in out


def test_the_sample_tables_are_chosen_by_name(run: Run, key_file: Callable[[str], Path]) -> None:
    path = key_file("0ABC12DEF3456789")
    published = "51043465443420856213"

    sample = run("token", "decode", published, "--decoder-key-file", path, "--tables", "sample")
    production = run("token", "decode", published, "--decoder-key-file", path)

    assert (sample[0], production[0]) == (0, 1)


# --- every kind explained ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (TokenRequest.credit(3, units=25, tid=0, rnd=1), {"Amount": "2.5 min"}),
        (
            TokenRequest.currency_credit(4, amount_e5=-100_000, tid=0),
            {"Amount, low": "-0.99994 of the currency"},
        ),
        (TokenRequest.management(0, value=5000, tid=0, rnd=1), {"Limit": "5000 W"}),
        (TokenRequest.management(6, value=16385, tid=0, rnd=1), {"Limit": "16394 W"}),
        (TokenRequest.management(1, value=0xFFFF, tid=0, rnd=1), {"Register": "every register"}),
        (TokenRequest.management(1, value=5, tid=0, rnd=1), {"Register": "water, in currency"}),
        (TokenRequest.management(1, value=8, tid=0, rnd=1), {"Register": "no such register"}),
        (TokenRequest.management(2, value=77, tid=0, rnd=1), {"Value": "77"}),
        (TokenRequest.management(5, value=0, tid=0, rnd=1), {"Value": "0"}),
        (TokenRequest.management(12, value=9, tid=0, rnd=1), {"Value": "the manufacturer's own"}),
        (
            TokenRequest.set_flag(flag_index=7, flag_value=1, tid=0, rnd=1),
            {"TokenIndex": "set a flag", "FlagIndex": "water is prepaid", "FlagValue": "on"},
        ),
        (
            TokenRequest.set_flag(flag_index=99, flag_value=0, tid=0, rnd=1),
            {"FlagIndex": "not assigned", "FlagValue": "off"},
        ),
        (
            TokenRequest.set_extended(token_index=0, value=123, tid=0, rnd=1),
            {"TokenIndex": "set the control value", "Value": "123"},
        ),
        (
            TokenRequest.set_extended(token_index=9, value=1, tid=0, rnd=1),
            {"TokenIndex": "not assigned"},
        ),
        (
            TokenRequest.meter_test(control=0b1001 | 1 << 19, manufacturer_code=42),
            {
                "Control": "test 1: load switch or valve; test 4: key revision number;"
                " test 20: reserved",
                "MfrCode": "manufacturer 42",
            },
        ),
        (TokenRequest.meter_test(control=0, four_digit_code=True), {"Control": "no test"}),
        (
            TokenRequest(1, 2, value=63 << 30 | 5),
            {"TokenIndex": "read a flag", "Value": "number 5"},
        ),
        (TokenRequest(1, 2, value=7 << 30), {"TokenIndex": "not assigned"}),
        (TokenRequest(1, 9, value=3), {"Control": "the manufacturer's own"}),
    ],
)
def test_every_kind_of_token_is_explained(
    run: Run, key_file: Callable[[str], Path], request_: TokenRequest, fields: dict[str, str]
) -> None:
    cipher = cipher_for(DecoderKey(bytes.fromhex(KEY_128), 11))
    digits = encode_token(token_of(request_), cipher)

    code, out, _ = run("token", "decode", digits, "--json", "--decoder-key-file", key_file(KEY_128))

    told = json.loads(out)
    assert code == 0
    assert told["name"] == request_.name
    assert sum(field["bits"] for field in told["fields"]) == 66
    by_name = {field["name"]: field["meaning"] for field in told["fields"]}
    assert {name: by_name[name] for name in fields} == fields


@pytest.mark.parametrize(("ea", "key"), [(7, KEY), (11, KEY_128)])
def test_key_change_tokens_are_explained_without_the_key(
    run: Run, key_file: Callable[[str], Path], ea: int, key: str
) -> None:
    current = KeyParameters("600727000000000009", "201457", krn=1, kt=2, ti=1, ea=ea)
    new = KeyParameters("600727000000000009", "123456", krn=5, kt=2, ti=37, ken=0xAB, ea=ea)
    new_key = DecoderKey(bytes(range(200, 200 + 2 * ea - 6))[: 8 if ea == 7 else 16], ea)
    cipher = cipher_for(DecoderKey(bytes.fromhex(key), ea))
    tokens = key_change_tokens(cipher, current, new_key, new, three_tokens=ea == 7)
    path = key_file(key)

    told = [
        json.loads(run("token", "decode", token.digits, "--json", "--decoder-key-file", path)[1])
        for token in tokens
    ]

    raw = {field["name"]: field["raw"] for token in told for field in token["fields"]}
    assert all(sum(field["bits"] for field in token["fields"]) == 66 for token in told)
    assert (raw["KENHO"], raw["KENLO"], raw["KRN"], raw["KT"], raw["TI"]) == (0xA, 0xB, 5, 2, 37)
    assert raw["Key word"] is None
    if ea == 7:
        assert raw["SGC"] == 123456
    else:
        assert raw["SGC, high"] << 12 | raw["SGC, low"] == 123456
    words = [new_key.key[i : i + 4] for i in range(0, len(new_key.key), 4)]
    assert not any(str(int.from_bytes(word, "big")) in json.dumps(told) for word in words)


def test_a_reserved_subclass_is_explained_as_reserved(run: Run) -> None:
    from slotmeter.vending.sts.crc import crc_field
    from slotmeter.vending.sts.frame import digits_of, join_class

    body = 4 << 44
    digits = digits_of(join_class(body << 16 | crc_field(1, body), 1))

    code, out, _ = run("token", "decode", digits)

    assert code == 0
    assert "This subclass is reserved" in out
