"""The settings of a server: one documented TOML file, checked whole before anything starts.

Every key, with its meaning and default, is in ``docs/reference/configuration.md``. Paths are taken
from the folder of the file, or from the data folder where the page says so. Secrets are never in
the file: a setting names the file that holds one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from slotmeter.errors import ConfigError

__all__ = [
    "Config",
    "DashboardsConfig",
    "DataConfig",
    "DatabaseConfig",
    "DebtsConfig",
    "EntryConfig",
    "HttpConfig",
    "LimitsConfig",
    "LogConfig",
    "VaultConfig",
    "load",
    "setting_names",
]

LOOPBACK = "127.0.0.1"
HTTP_PORT = 8480
DASHBOARDS_PORT = 8481
CONFIG_BYTES_MAX = 1 << 20

FilePath = Annotated[Path, Field(strict=False)]
Host = Annotated[str, Field(min_length=1, max_length=255)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    """A table of the file: frozen, typed as TOML types it, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class DataConfig(_Section):
    """``[data]``: where the server keeps everything it must not lose."""

    folder: FilePath = Field(
        default=Path("slotmeter-data"),
        description="Folder of the databases, the key vault and the lock file.",
    )


class DatabaseConfig(_Section):
    """``[database]``: a PostgreSQL server instead of the file in the data folder."""

    url: str = Field(
        default="",
        max_length=2_000,
        description="Address of a PostgreSQL database; empty for SQLite in the data folder.",
    )
    password_file: str = Field(
        default="", max_length=4_096, description="File with the password, for its owner only."
    )
    replica_url: str = Field(
        default="",
        max_length=2_000,
        description="Address of a streaming standby that lists, sums and reports are read from.",
    )
    replica_lag_max_s: float = Field(
        default=10.0,
        gt=0,
        le=86_400,
        description="A standby further behind than this is not read from, in seconds.",
    )
    pool_max: int = Field(
        default=8, ge=2, le=100, description="Connections at most, that of the writer included."
    )
    connect_timeout_s: float = Field(
        default=10.0, gt=0, le=600, description="Time to reach the server, in seconds."
    )
    start_wait_s: float = Field(
        default=60.0,
        ge=0,
        le=3_600,
        description="How long a start waits for a server that is coming up itself, in seconds.",
    )
    statement_timeout_s: float = Field(
        default=30.0, gt=0, le=3_600, description="Time for one statement, in seconds."
    )
    require_durable: bool = Field(
        default=True,
        description="Refuse a server that may lose what it committed; only tests may say no.",
    )

    @field_validator("url", "replica_url")
    @classmethod
    def _check_url(cls, text: str) -> str:
        if not text:
            return text
        parts = urlsplit(text)
        if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
            raise ValueError("expected postgresql://user@host:port/database")
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("a password must not be in it; name its file in password_file")
        return text

    @model_validator(mode="after")
    def _check_replica(self) -> Self:
        if self.replica_url and not self.url:
            raise ValueError("replica_url is of a standby of the server that url names; name both")
        return self


class HttpConfig(_Section):
    """``[http]``: where the API listens."""

    host: Host = Field(default=LOOPBACK, description="Address to listen on.")
    port: Port = Field(default=HTTP_PORT, description="TCP port; 0 takes any free one.")
    access_log: bool = Field(default=False, description="Log one line for every request.")


class DashboardsConfig(_Section):
    """``[dashboards]``: the pages, a process of their own."""

    enabled: bool = Field(default=True, description="Start the dashboards with the server.")
    host: Host = Field(default=LOOPBACK, description="Address to listen on.")
    port: Port = Field(default=DASHBOARDS_PORT, description="TCP port; 0 takes any free one.")
    api_key_file: FilePath = Field(
        default=Path("dashboards.key"),
        description="File with the dashboards' API key; taken from the data folder.",
    )


class LogConfig(_Section):
    """``[log]``: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severity that is written."
    )
    format: Literal["json", "text"] = Field(
        default="text", description="One JSON object per line, or lines for people."
    )


class StsConfig(_Section):
    """``[sts]``: what a site decides about tokens; see ``docs/reference/sts.md``."""

    tables: tuple[FilePath, ...] = Field(
        default=(),
        max_length=16,
        strict=False,
        description="Files with the site's own EA07 table sets.",
    )
    allow_dkga01: bool = Field(
        default=False, description="Make keys by DKGA01 for the old meters that need it."
    )
    common_key_with_own_pan: bool = Field(
        default=False, description="Put the meter's own PAN into common keys under DKGA04."
    )
    refuse_even_parity: bool = Field(
        default=True, description="Refuse DES vending keys without odd parity."
    )


class VaultConfig(_Section):
    """``[vault]``: what unwraps the vault; see ``docs/how-to/keys.md``."""

    master_key: Literal["file", "credential", "pkcs11", "environment"] = Field(
        default="file", description="Where the master key comes from."
    )
    master_key_file: FilePath = Field(
        default=Path("master.key"),
        description="File with 64 hex digits, for its owner only; taken from the data folder.",
    )
    credential: str = Field(
        default="slotmeter-master-key",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of the systemd credential.",
    )
    pkcs11_library: FilePath = Field(
        default=Path("/usr/lib/softhsm/libsofthsm2.so"),
        description="The PKCS#11 module of the security token.",
    )
    pkcs11_token: str = Field(default="slotmeter", description="Label of the token.")
    pkcs11_key: str = Field(
        default="slotmeter-master-key", description="Label of the AES-256 key in the token."
    )
    pkcs11_pin_file: FilePath = Field(
        default=Path("pkcs11.pin"),
        description="File with the user's PIN, for its owner only; taken from the data folder.",
    )
    two_officers: bool = Field(
        default=False,
        description="Let nobody bring a vending key alone, not even before the first sale.",
    )


class DebtsConfig(_Section):
    """``[debts]``: what the server does with debts by itself."""

    nightly_interest: bool = Field(
        default=True, description="Book interest once each local day is over."
    )


class AuditConfig(_Section):
    """``[audit]``: checkpoints that the server makes by itself."""

    checkpoint_every_h: int = Field(
        default=24, ge=0, le=8_760, description="Hours between two checkpoints; 0 for none."
    )
    checkpoint_folder: FilePath = Field(
        default=Path("checkpoints"),
        description="Folder that they are written to; taken from the data folder.",
    )


class FramesConfig(_Section):
    """``[frames]``: how long what devices sent is kept as it came."""

    days_kept: int = Field(
        default=90,
        ge=1,
        le=36_500,
        description="Days until frames that took effect, and those of strangers, are dropped.",
    )
    aside_days_kept: int = Field(
        default=730,
        ge=1,
        le=36_500,
        description="Days that other frames which could not be read wait for a better driver; "
        "never fewer than `days_kept`.",
    )


class ProcessConfig(_Section):
    """``[process]``: how the server uses the machine."""

    one_core: bool = Field(
        default=True,
        description="Keep the server itself to one core; its threads share one lock anyway.",
    )


class LimitsConfig(_Section):
    """``[limits]``: what one caller can take from the server."""

    body_bytes_max: int = Field(
        default=65_536, ge=1_024, le=16_777_216, description="Largest request body, in bytes."
    )
    header_bytes_max: int = Field(
        default=8_190,
        ge=1_024,
        le=65_536,
        description="Longest request line and longest single header, in bytes.",
    )
    headers_max: int = Field(
        default=64, ge=8, le=1_024, description="How many headers a request may have."
    )
    requests_per_key_max: int = Field(
        default=256, ge=1, le=100_000, description="Requests of one API key in work at once."
    )
    request_timeout_s: float = Field(
        default=30.0, gt=0, le=3_600, description="Time for one request, in seconds."
    )
    event_streams_max: int = Field(
        default=256, ge=1, le=100_000, description="Event streams open at once."
    )
    drain_timeout_s: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="Time that requests in work get when the server stops, in seconds.",
    )


class EntryConfig(BaseModel):
    """``[[entry]]``: one connection of a medium; what is not named here is the medium's own."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    medium: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[a-z_][a-z0-9_]*$",
        description="Key of an installed medium, such as `nbiot`.",
    )
    key: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9_-]{0,31})?$",
        description="Names the entry in paths and records; that of its medium if left out.",
    )
    title: str = Field(default="", max_length=100, description="A name for logs.")

    @property
    def options(self) -> Mapping[str, object]:
        """Return the keys that the medium itself must understand."""
        return dict(self.model_extra or {})


class Config(_Section):
    """The whole file; see ``docs/reference/configuration.md``."""

    data: DataConfig = DataConfig()
    database: DatabaseConfig = DatabaseConfig()
    http: HttpConfig = HttpConfig()
    dashboards: DashboardsConfig = DashboardsConfig()
    log: LogConfig = LogConfig()
    sts: StsConfig = StsConfig()
    vault: VaultConfig = VaultConfig()
    debts: DebtsConfig = DebtsConfig()
    audit: AuditConfig = AuditConfig()
    frames: FramesConfig = FramesConfig()
    limits: LimitsConfig = LimitsConfig()
    process: ProcessConfig = ProcessConfig()
    entries: tuple[EntryConfig, ...] = Field(default=(), alias="entry", max_length=64, strict=False)

    @classmethod
    def default(cls, data_folder: Path) -> Self:
        """Return the settings of a server without a file: loopback only, no medium."""
        return cls(data=DataConfig(folder=data_folder))

    @property
    def dashboards_key_path(self) -> Path:
        """Where the dashboards' API key lies."""
        return self.data.folder / self.dashboards.api_key_file


def load(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: ``config_not_found``, ``config_unreadable``, ``config_not_toml``,
            ``unknown_setting`` or ``bad_setting``; ``field`` is the dotted name of the setting.
    """
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigError("config_not_found", f"there is no configuration file {path}") from error
    except OSError as error:
        raise ConfigError(
            "config_unreadable", f"{path} cannot be read: {error.strerror}"
        ) from error
    if len(content) > CONFIG_BYTES_MAX:
        raise ConfigError("config_unreadable", f"{path} is larger than {CONFIG_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config_not_toml", f"{path} is not valid TOML: {error}") from error
    config = _check(document, path.name)
    home = path.resolve().parent
    folder = home / config.data.folder.expanduser()
    tables = tuple(home / file.expanduser() for file in config.sts.tables)
    database = config.database
    if database.password_file:
        secret = home / Path(database.password_file).expanduser()
        database = database.model_copy(update={"password_file": str(secret)})
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"folder": folder}),
            "database": database,
            "sts": config.sts.model_copy(update={"tables": tables}),
        }
    )


def _check(document: dict[str, Any], name: str) -> Config:
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        raise ConfigError(
            "unknown_setting", f"{name}: there is no setting {where}{_nearest(where)}", field=where
        )
    # What our own checks refuse may be a password in the wrong place.
    hidden = first["type"] in {"missing", "value_error"}
    got = "" if hidden else f", got {_short(first['input'])}"
    message = first["msg"].removeprefix("Value error, ")
    reason = message[0].lower() + message[1:]
    raise ConfigError("bad_setting", f"{name}: {where}: {reason}{got}", field=where)


def _dotted(location: tuple[int | str, ...]) -> str:
    """Write a place as ``http.port`` or ``entry[2].medium``, counting entries from 1."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if text else part
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(where: str) -> str:
    close = difflib.get_close_matches(where, setting_names(), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def setting_names() -> list[str]:
    """Return the dotted name of every setting, entries as ``entry.medium``."""
    names: list[str] = []
    for name, info in Config.model_fields.items():
        section = EntryConfig if name == "entries" else info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += [f"{info.alias or name}.{key}" for key in section.model_fields]
    return names
