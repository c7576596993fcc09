"""What the author of a driver is told: where the mistake is, and what would help."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slotmeter.cli import main
from slotmeter.devices import octets
from slotmeter.devices.driver_checks import example_problems
from slotmeter.units import Commodity


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Gives the folder of an empty package, and forgets what is imported from it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "reasons_drivers"
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder
    for name in [name for name in sys.modules if name.startswith("reasons_drivers")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "from slotmeter.devices import octets\n\noctets.Field('water', 0, 4, 'L')\n",
            "water is not in the vocabulary (docs/reference/entities.md) (meter.py, line 3)",
        ),
        (
            "from slotmeter.devices import octets\n\n\noctets.Supply(0, {}, masks=3)\n",
            "unexpected keyword argument 'masks' (meter.py, line 4)",
        ),
        (
            "import no_such_thing\n",
            "No module named 'no_such_thing'; install the package that has it",
        ),
    ],
    ids=["a register", "an argument", "a package"],
)
def test_a_module_that_cannot_be_used_is_told_with_its_line_or_a_remedy(
    source: str, told: str, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pack / "meter.py").write_text(source, encoding="utf-8")

    assert main(["driver", "check", str(pack)]) == 1

    assert told in capsys.readouterr().out


def test_an_example_beyond_the_count_at_which_the_register_turns_is_refused() -> None:
    driver = octets.driver(
        octets.frame(2, octets.Field("volume", 0, 2, "L", wrap=1_000)),
        key="reasons_wrap",
        maker="Reasons",
        model="W1",
        medium="ip",
        commodities=frozenset({Commodity.WATER}),
        examples=(octets.Example("1025 L", "frames", b"\x04\x01", {"volume": "1025 L"}),),
    )

    (text,) = example_problems(driver)

    assert "said to start at 0 again at 1000000" in text
