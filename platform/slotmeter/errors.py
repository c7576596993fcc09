"""All deliberate errors as one tree, classified by what the caller can do.

::

    SlotmeterError
    ├── Refused         a rule says no: change the request               (HTTP 422)
    ├── NotAllowed      who you are does not carry this right            (HTTP 403)
    ├── NotSignedIn     no key, or a key that is unknown or withdrawn    (HTTP 401)
    ├── NotFound        no such thing, or not yours to see               (HTTP 404)
    ├── Conflict        the same name already means something else       (HTTP 409)
    ├── Unavailable     try again later                                  (HTTP 503)
    ├── FrameError      bytes from a device that cannot be read: count, quarantine, go on
    └── ConfigError     a setting that cannot work: stop at start-up

Every error carries a stable ``code`` (snake_case), a sentence for a person, and where it applies
the ``field`` at fault. Only :mod:`slotmeter.api.problems` knows HTTP statuses. Expected outcomes (a
command expired, a token already used) are states, not exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ConfigError",
    "Conflict",
    "FrameError",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "Refused",
    "SlotmeterError",
    "Unavailable",
]


class SlotmeterError(Exception):
    """Anything slotmeter refuses on purpose.

    Args:
        code: stable snake_case identifier; part of the public interface.
        message: one sentence that says what was expected and what came; never a secret or a token.
        field: the input field at fault, as the caller named it.
        details: further facts that a program may use.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.details: Mapping[str, object] = details or {}

    def __reduce__(self) -> tuple[object, ...]:
        """Keep code, field and details when the error crosses a process border."""
        return _rebuild, (type(self), self.code, self.message, self.field, dict(self.details))


def _rebuild(
    kind: type[SlotmeterError],
    code: str,
    message: str,
    field: str | None,
    details: Mapping[str, object],
) -> SlotmeterError:
    return kind(code, message, field=field, details=details)


class Refused(SlotmeterError):
    """A rule says no; the same request will be refused again."""


class NotAllowed(SlotmeterError):
    """The principal lacks the right."""


class NotSignedIn(SlotmeterError):
    """No usable credentials came with the request."""


class NotFound(SlotmeterError):
    """No such thing within what the principal may see."""


class Conflict(SlotmeterError):
    """The identifier is already used for something else."""


class Unavailable(SlotmeterError):
    """A part that is needed does not answer now; the same request may succeed later."""


class FrameError(SlotmeterError):
    """Bytes from a device that cannot be read."""


class ConfigError(SlotmeterError):
    """A setting that cannot work; start-up stops."""
