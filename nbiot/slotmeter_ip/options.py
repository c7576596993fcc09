"""The options of an entry, checked once when it is set up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Final, Self

from slotmeter.errors import ConfigError

__all__ = ["PASSWORD", "Options"]

PASSWORD: Final = "mqtt_password"  # noqa: S105  a secret's name, not a secret
"""The secret with which the platform signs in to the broker."""

_BOUNDS: Final = {
    "payload_bytes_max": (16, 65_536),
    "frames_per_message_max": (1, 500),  # 600 a minute are taken of a device: more never get in
    "commands_per_answer": (1, 16),
    "requests_per_minute": (1, 60_000),
    "mqtt_port": (1, 65_535),
    "mqtt_awake_s": (0, 3_600),
    "mqtt_session_h": (1, 8_760),
    "mqtt_in_flight_max": (1, 1_000),
}
_TEXTS: Final = {
    "mqtt_host": (re.compile(r"[A-Za-z0-9._:-]{1,255}"), "a host name or an IP address"),
    "mqtt_user": (re.compile(r"[\x21-\x7e]{1,128}"), "1 to 128 printable ASCII characters"),
    "mqtt_ca": (
        re.compile(r"\s*-----BEGIN CERTIFICATE-----[\x09-\x7e]{1,65536}"),
        "certificates in PEM",
    ),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set.

    Args:
        http: answer devices under ``/api/v1/media/<key>/``.
        keys_in_clear: take a device's key itself (HTTP Basic) as well as a signature; only where
            TLS ends in front of the server.
        payload_bytes_max: longer requests and messages are refused.
        frames_per_message_max: a JSON array may hold so many frames.
        commands_per_answer: at most so many commands go to a device at once.
        requests_per_minute: more of one device are refused (429).
        mqtt_host: the broker; empty for none.
        mqtt_port: its TCP port; 8883 is usual with TLS, 1883 without.
        mqtt_tls: speak TLS and check the broker's certificate.
        mqtt_ca: certificates to trust, in PEM; empty for those of the operating system.
        mqtt_plain: speak without TLS to a broker on another machine, although whoever is in between
            reads tokens and the password.
        mqtt_user: name to sign in with; the secret ``mqtt_password`` goes with it.
        mqtt_signed: take only messages that are signed with the device's key, and sign what goes to
            devices. Without it the broker alone vouches for who speaks on a topic.
        mqtt_awake_s: a device that was heard so recently gets new commands at once; the others when
            they speak, or say that they are online.
        mqtt_session_h: how long the broker keeps messages for us while we are away.
        mqtt_in_flight_max: so many messages are worked on at once; the broker keeps the others.
    """

    http: bool = True
    keys_in_clear: bool = False
    payload_bytes_max: int = 16_384
    frames_per_message_max: int = 100
    commands_per_answer: int = 4
    requests_per_minute: int = 120
    mqtt_host: str = ""
    mqtt_port: int = 8_883
    mqtt_tls: bool = True
    mqtt_ca: str = ""
    mqtt_plain: bool = False
    mqtt_user: str = ""
    mqtt_signed: bool = True
    mqtt_awake_s: int = 60
    mqtt_session_h: int = 168
    mqtt_in_flight_max: int = 64

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> Self:
        """Build from what the entry says.

        Raises:
            ConfigError: ``unknown_option`` or ``bad_option`` with the option as ``field``,
                ``nothing_to_do`` or ``plain_mqtt_not_allowed``.
        """
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ConfigError(
                    "unknown_option",
                    f"the medium ip has no option {name!r}; it has {', '.join(known)}",
                    field=name,
                )
            reason = _fault(name, value)
            if reason:
                raise ConfigError("bad_option", f"{name}: expected {reason}", field=name)
        options = cls(**given)  # type: ignore[arg-type]  # each value was checked above
        options._check_together()
        return options

    def _check_together(self) -> None:
        if not self.http and not self.mqtt_host:
            raise ConfigError(
                "nothing_to_do", "set http = true, or name a broker in mqtt_host", field="http"
            )
        if self.mqtt_host and not (self.mqtt_tls or self.mqtt_plain or _is_here(self.mqtt_host)):
            raise ConfigError(
                "plain_mqtt_not_allowed",
                f"without TLS whoever is between here and {self.mqtt_host} reads tokens and the "
                "password; set mqtt_tls = true, or, inside a private network, mqtt_plain = true",
                field="mqtt_tls",
            )


def _fault(name: str, value: object) -> str | None:
    """Say what was expected instead of a value, or None."""
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        right = type(value) is int and low <= value <= high
        return None if right else f"an integer from {low} to {high}"
    if name in {"http", "keys_in_clear", "mqtt_tls", "mqtt_plain", "mqtt_signed"}:
        return None if isinstance(value, bool) else "true or false"
    if not isinstance(value, str):
        return "text"
    pattern, expected = _TEXTS[name]
    return None if not value or pattern.fullmatch(value) else expected


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
