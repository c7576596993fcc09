"""A site's own STS tables come in by file, and a bad file stops the start with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotmeter.config import load
from slotmeter.errors import ConfigError
from slotmeter.security.site_tables import read_table_sets
from slotmeter.vending.sts import TABLE_SETS

OWN = {
    "name": "mysite",
    "s0": list(range(15, -1, -1)),
    "s1": list(range(16)),
    "p": list(range(63, -1, -1)),
}


def test_a_sites_own_set_stands_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps(OWN))
    (tmp_path / "slotmeter.toml").write_text('[sts]\ntables = ["own.json"]\n')

    sets = read_table_sets(load(tmp_path / "slotmeter.toml").sts.tables)

    assert set(sets) == {*TABLE_SETS, "mysite"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "sts_tables_unreadable"),
        (b"\xff\xfe\x00", "sts_tables_unreadable"),
        (b"name: x", "bad_table_set"),
    ],
)
def test_a_bad_file_is_named(content: bytes | None, code: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_table_sets([file])

    assert (caught.value.code, caught.value.field) == (code, "sts.tables")
    assert "own.yaml" in caught.value.message


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        file.write_text(json.dumps(OWN))

    with pytest.raises(ConfigError, match="mysite"):
        read_table_sets(files)
