"""The shapes of integrations and config entries; no answer holds a secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from slotmeter.api.models import Body, Instant, Out, Reason

__all__ = [
    "EntriesPage",
    "EntryBody",
    "EntryChangeBody",
    "EntryLogLine",
    "EntryLogPage",
    "EntryOut",
    "IntegrationOut",
    "IntegrationsPage",
    "RemovalQuery",
    "RetryBody",
]

State = Literal["not_loaded", "setting_up", "loaded", "retrying", "failed", "unloading"]
Key = Annotated[str, Field(min_length=1, max_length=32, examples=["town-north"])]
Medium = Annotated[str, Field(min_length=1, max_length=64, examples=["nbiot"])]
Title = Annotated[str, Field(max_length=100, description="For people.")]
Options = Annotated[
    dict[str, Any], Field(description="What the medium itself understands; see its own page.")
]


class EntryBody(Body):
    """A new entry."""

    key: Key = Field(description="Names it for good: in paths, topics, records and logs.")
    medium: Medium
    title: Title = ""
    options: Options = Field(default_factory=dict)
    secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description="Sealed at once, and in no answer ever."
    )
    enabled: bool = True
    reason: Reason


class EntryChangeBody(Body):
    """What should be otherwise; what is not given stays as it is."""

    title: Title | None = None
    options: Options | None = Field(
        default=None, description="Merged into those that are there; null takes one away."
    )
    secrets: dict[str, SecretStr | None] | None = Field(
        default=None, description="The same for secrets."
    )
    enabled: bool | None = None
    reason: Reason


class RetryBody(Body):
    """Why it is tried now."""

    reason: Reason


class RemovalQuery(BaseModel):
    """Why it is removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason


class EntryOut(Out):
    """A config entry and how it does."""

    key: str
    medium: str
    title: str
    options: dict[str, Any]
    secrets: list[str] = Field(description="Names of the secrets that are set; never a value.")
    enabled: bool
    source: Literal["api", "cli", "file"] = Field(
        description="One of a file is changed there only, and with the next start."
    )
    state: State
    reason: str = Field(description="Why; a stable code in front, where there is one.")
    since: Instant
    failures: int = Field(description="Tries that failed one after the other.")
    retry_at: Instant | None = Field(description="When it is tried again, while it retries.")
    addresses: list[str] = Field(description="Where it listens, while it is loaded.")
    created_at: Instant
    changed_at: Instant


class EntriesPage(Out):
    """Entries by key."""

    items: list[EntryOut]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class EntryLogLine(Out):
    """A state that an entry came to."""

    at: Instant
    state: State
    reason: str


class EntryLogPage(Out):
    """States, the newest first."""

    items: list[EntryLogLine]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class IntegrationOut(Out):
    """An installed package that brings a medium or drivers."""

    key: str
    kind: Literal["medium", "drivers"]
    name: str
    version: str
    package: str
    iot_class: str
    documentation: str
    codeowners: list[str]
    quality: Literal["none", "decodes", "commands", "field-proven"]
    requires: list[str]
    missing: list[str] = Field(description="Required packages that are not installed.")
    secrets: list[str] = Field(description="Names of its options that are secret.")


class BrokenIntegration(Out):
    """An installed package whose manifest cannot be used."""

    package: str
    code: str
    field: str | None
    detail: str


class IntegrationsPage(Out):
    """Everything that is installed."""

    items: list[IntegrationOut]
    broken: list[BrokenIntegration]
