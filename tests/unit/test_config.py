"""The configuration file: what it accepts, what it refuses by name, and that it is documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from slotmeter.config import Config, EntryConfig, load, setting_names
from slotmeter.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def written(folder: Path, text: str) -> Path:
    path = folder / "slotmeter.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_listens_on_loopback_only(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))

    assert (config.http.host, config.dashboards.host) == ("127.0.0.1", "127.0.0.1")
    assert config.entries == ()


def test_a_relative_data_folder_starts_at_the_file_not_at_the_working_folder(
    tmp_path: Path,
) -> None:
    config = load(written(tmp_path, '[data]\nfolder = "town"'))

    assert config.data.folder == tmp_path / "town"
    assert config.dashboards_key_path == tmp_path / "town" / "dashboards.key"


def test_keys_of_an_entry_that_we_do_not_know_go_to_the_medium(tmp_path: Path) -> None:
    text = '[[entry]]\nmedium = "nbiot"\nhost = "127.0.0.1"\nport = 5683\n'

    config = load(written(tmp_path, text))

    assert config.entries[0].medium == "nbiot"
    assert config.entries[0].options == {"host": "127.0.0.1", "port": 5683}


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("[http]\nprot = 1", "unknown_setting", "http.prot"),
        ("[web]\nport = 1", "unknown_setting", "web"),
        ("[http]\nport = 70000", "bad_setting", "http.port"),
        ('[http]\nport = "8480"', "bad_setting", "http.port"),
        ("[http]\nhost = ''", "bad_setting", "http.host"),
        ("[log]\nformat = 'xml'", "bad_setting", "log.format"),
        ("[limits]\nbody_bytes_max = 1", "bad_setting", "limits.body_bytes_max"),
        ("[limits]\nrequest_timeout_s = nan", "bad_setting", "limits.request_timeout_s"),
        ("[[entry]]\nport = 1", "bad_setting", "entry[1].medium"),
        ("[[entry]]\nmedium = 'NB-IoT'", "bad_setting", "entry[1].medium"),
        ("[http\n", "config_not_toml", None),
    ],
)
def test_a_bad_file_is_refused_with_the_setting_named(
    tmp_path: Path, text: str, code: str, field: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))

    assert (caught.value.code, caught.value.field) == (code, field)
    assert field is None or field in caught.value.message


def test_a_misspelt_setting_is_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean http\.port\?"):
        load(written(tmp_path, "[http]\nprot = 1"))


def test_a_file_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")

    assert caught.value.code == "config_not_found"


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)

    assert caught.value.code == "config_unreadable"


def default_of(name: str) -> str:
    section, _, key = name.partition(".")
    if section == "entry":
        info = EntryConfig.model_fields[key]
        return "none, required" if info.is_required() else '`""`'
    value = getattr(getattr(Config(), section), key)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`" if isinstance(value, int | float) else f'`"{value}"`'


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]

    assert len(rows) == 1
    assert default_of(name) in rows[0]


def test_the_page_documents_no_setting_that_does_not_exist() -> None:
    documented = {
        line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")
    }

    assert documented == set(setting_names())


def test_a_loaded_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))

    with pytest.raises(ValidationError, match="frozen"):
        config.http.port = 1  # type: ignore[misc]  # what the type checker refuses, too
