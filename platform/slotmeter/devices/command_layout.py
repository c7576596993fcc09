"""Commands as octets, described instead of programmed; both ways from one description.

::

    COMMANDS = CommandLayout(
        {
            CommandKind.READ_NOW: 0x01,
            CommandKind.CLOSE_VALVE: 0x02,
            CommandKind.OPEN_VALVE: 0x03,
            CommandKind.SET_VALVE: (0x04, Amount(1)),
            CommandKind.LOAD_TOKEN: (0x05, Digits()),
            CommandKind.SET_CREDIT_MODE: (0x06, Word({"prepaid": 1, "postpaid": 0})),
        },
        id_octets=2,
    )

Each command is ``lead``, code, id, slot, argument, check, in this order; several may follow one
another.
``slotmeter.devices.octets.driver`` hands both ways over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from slotmeter.devices.checksums import Checksum, checksum, checksum_octets
from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.devices.entities import REGISTERS
from slotmeter.devices.layout_parts import Order
from slotmeter.errors import FrameError, Refused

__all__ = ["Amount", "Argument", "CommandLayout", "Digits", "Fixed", "Nothing", "Word"]

TOKEN_DIGITS: Final = 20


class Argument(Protocol):
    """What a command carries besides its code. A driver may bring one of its own."""

    @property
    def octets(self) -> int:
        """How many octets it takes."""
        ...

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return the octets of a command.

        Raises:
            Refused: the meter cannot be told this.
        """
        ...

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command with what the octets say.

        Raises:
            FrameError: they say nothing.
        """
        ...


def _unsupported(command: CommandOut, expected: str) -> Refused:
    return Refused("command_unsupported", f"{command.kind.value}: the meter takes {expected}")


@dataclass(frozen=True, slots=True)
class Nothing:
    """No argument."""

    octets: int = field(default=0, init=False)

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return no octets."""
        return b""

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command as it is."""
        return command


@dataclass(frozen=True, slots=True)
class Fixed:
    """Octets that are always the same, such as the percent that shuts a valve.

    With them several kinds of commands may have one code: ``CLOSE_VALVE: (4, Fixed(b"\\0"))``
    beside ``SET_VALVE: (4, Amount(1))``.
    """

    content: bytes

    @property
    def octets(self) -> int:
        """How many octets it takes."""
        return len(self.content)

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return the octets."""
        return self.content

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command as it is.

        Raises:
            FrameError: ``unknown_code``: these are other octets.
        """
        if octets != self.content:
            raise FrameError("unknown_code", f"expected {self.content.hex()}, got {octets.hex()}")
        return command


@dataclass(frozen=True, slots=True)
class Amount:
    """``CommandOut.value`` as a number: percent, W, or seconds for a clock.

    Args:
        octets: how many.
        unit: what one count is, where it is not percent, W or s: ``"0.1 kW"``.
        zero: what a count of 0 stands for, such as the second since 1970 in which a meter's clock
            began.
        none: the count that means 0, such as 0xFFFF for "no limit".
    """

    octets: int
    unit: str = ""
    zero: int = 0
    none: int | None = None

    @property
    def step(self) -> int:
        """How much one count is."""
        if not self.unit:
            return 1
        step = REGISTERS["load_limit"].measure(self.unit).factor
        if step.denominator != 1:
            raise ValueError(f"expected a whole number of W in one count, got {self.unit!r}")
        return int(step)

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return the count.

        Raises:
            Refused: ``command_unsupported`` when there is no count for the value.
        """
        value = command.value if command.value is not None else -1
        count, rest = divmod(value - self.zero, self.step)
        if value == 0 and self.none is not None:
            count, rest = self.none, 0
        elif count == self.none:
            rest = 1
        if rest or not 0 <= count < 1 << 8 * self.octets:
            raise _unsupported(
                command, f"multiples of {self.step} from {self.zero}, in {self.octets} octets"
            )
        return count.to_bytes(self.octets, order)

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command with its value."""
        count = int.from_bytes(octets, order)
        value = 0 if count == self.none else self.zero + count * self.step
        return replace(command, value=value)


@dataclass(frozen=True, slots=True)
class Digits:
    """The 20 digits of ``CommandOut.token``.

    Args:
        form: ``bcd`` (10 octets, two digits each), ``number`` (9 octets, as IEC 62055-41 counts
            them: 66 bits) or ``ascii`` (20 octets).
    """

    form: Literal["bcd", "number", "ascii"] = "bcd"

    @property
    def octets(self) -> int:
        """How many octets it takes."""
        return {"bcd": 10, "number": 9, "ascii": 20}[self.form]

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return the digits.

        Raises:
            Refused: ``command_unsupported`` when they are not 20, or more than 66 bits.
        """
        token = command.token or ""
        if len(token) != TOKEN_DIGITS or not (token.isascii() and token.isdecimal()):
            raise _unsupported(command, f"{TOKEN_DIGITS} digits")
        if self.form == "ascii":
            return token.encode("ascii")
        if self.form == "bcd":
            return bytes.fromhex(token)[:: 1 if order == "big" else -1]
        return int(token).to_bytes(self.octets, order)

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command with its token.

        Raises:
            FrameError: ``not_decimal``.
        """
        if self.form == "ascii":
            token = octets.decode("ascii", "replace")
        elif self.form == "bcd":
            token = octets[:: 1 if order == "big" else -1].hex()
        else:
            token = str(int.from_bytes(octets, order)).zfill(TOKEN_DIGITS)
        if len(token) != TOKEN_DIGITS or not (token.isascii() and token.isdecimal()):
            raise FrameError("not_decimal", f"expected {TOKEN_DIGITS} digits of a token")
        return replace(command, token=token)


@dataclass(frozen=True, slots=True)
class Word:
    """``CommandOut.text`` as the number that the meter has for it."""

    codes: Mapping[str, int]
    octets: int = 1

    def write(self, command: CommandOut, order: Order) -> bytes:
        """Return the number.

        Raises:
            Refused: ``command_unsupported`` for another word.
        """
        code = self.codes.get(command.text or "")
        if code is None:
            raise _unsupported(command, ", ".join(sorted(self.codes)))
        return code.to_bytes(self.octets, order)

    def read(self, octets: bytes, order: Order, command: CommandOut) -> CommandOut:
        """Return the command with its text.

        Raises:
            FrameError: ``unknown_word``.
        """
        code = int.from_bytes(octets, order)
        for text, known in self.codes.items():
            if known == code:
                return replace(command, text=text)
        raise FrameError("unknown_word", f"expected the number of a word, got {code}")


@dataclass(frozen=True, slots=True)
class CommandLayout:
    """All that the meter can be told.

    Args:
        codes: the number that asks for something; with what comes with it, if anything does.
        id_octets: how many octets of the command's id are sent, the low ones; a driver says the
            same in ``command_id_octets``.
        slot_octets: how many octets name the meter behind a node, after the id; all ones for the
            node itself. Without them a command to a meter behind it is refused.
        code_octets: how many octets a code takes.
        lead: what stands before each command.
        check: what stands behind each, made of all its octets.
        order: of numbers.
        check_order: of the check, where it is not that of numbers.

    Raises:
        ValueError: a code is there twice, and nothing fixed tells the commands apart.
    """

    codes: Mapping[CommandKind, int | tuple[int, Argument]]
    id_octets: int = 0
    slot_octets: int = 0
    code_octets: int = 1
    lead: bytes = b""
    check: Checksum | None = None
    order: Order = "big"
    check_order: Order | None = None

    def __post_init__(self) -> None:
        """Refuse a description that cannot be read back."""
        by_code: dict[int, list[Argument]] = {}
        for code, argument in self._orders().values():
            by_code.setdefault(code, []).append(argument)
        for code, arguments in by_code.items():
            fixed = [each.content for each in arguments if isinstance(each, Fixed)]
            if len(arguments) - len(fixed) > 1 or len(set(fixed)) < len(fixed):
                raise ValueError(f"the code {code} of a command is there twice")
            if len({each.octets for each in arguments}) > 1:
                raise ValueError(f"commands of the code {code} have arguments of unlike length")

    def _orders(self) -> dict[CommandKind, tuple[int, Argument]]:
        return {
            kind: said if isinstance(said, tuple) else (said, Nothing())
            for kind, said in self.codes.items()
        }

    @property
    def kinds(self) -> frozenset[CommandKind]:
        """What the meter understands."""
        return frozenset(self.codes)

    def encode(self, commands: tuple[CommandOut, ...]) -> bytes:
        """Write commands.

        Raises:
            Refused: ``command_unsupported``: the meter cannot be told this.
        """
        return b"".join(self._written(command) for command in commands)

    def _written(self, command: CommandOut) -> bytes:
        if command.kind not in self.codes:
            raise _unsupported(command, ", ".join(sorted(self.kinds)))
        code, argument = self._orders()[command.kind]
        said = argument.write(command, self.order)
        if (meant := self._meant(code, said)) is not command.kind:
            raise _unsupported(command, f"{meant.value} for this value")
        written = (
            self.lead
            + code.to_bytes(self.code_octets, self.order)
            + (command.id % (1 << 8 * self.id_octets)).to_bytes(self.id_octets, self.order)
            + self._slot(command).to_bytes(self.slot_octets, self.order)
            + said
        )
        if self.check is None:
            return written
        size = checksum_octets(self.check)
        made = checksum(self.check, written)
        return written + made.to_bytes(size, self.check_order or self.order)

    def _meant(self, code: int, said: bytes) -> CommandKind:
        """Return the kind of a code; where several have it, the one with these fixed octets."""
        alike = [(kind, arg) for kind, (number, arg) in self._orders().items() if number == code]
        for kind, argument in alike:
            if isinstance(argument, Fixed) and argument.content == said:
                return kind
        return next((kind for kind, arg in alike if not isinstance(arg, Fixed)), alike[0][0])

    def _slot(self, command: CommandOut) -> int:
        itself = (1 << 8 * self.slot_octets) - 1
        if command.slot is None:
            return itself
        if not 0 <= command.slot < itself:
            raise _unsupported(command, f"the slots below {itself}")
        return command.slot

    def decode(self, payload: bytes) -> tuple[CommandOut, ...]:
        """Read commands back, as the meter would; their ids are the octets that were sent.

        Raises:
            FrameError: ``wrong_lead``, ``unknown_code``, ``wrong_length``, ``wrong_check``, or what
                an argument says.
        """
        commands: list[CommandOut] = []
        at = 0
        while at < len(payload):
            command, at = self._read(payload, at)
            commands.append(command)
        return tuple(commands)

    def _read(self, payload: bytes, at: int) -> tuple[CommandOut, int]:
        code_at = at + len(self.lead)
        id_at = code_at + self.code_octets
        slot_at = id_at + self.id_octets
        argument_at = slot_at + self.slot_octets
        if payload[at:code_at] != self.lead:
            raise FrameError("wrong_lead", f"expected {self.lead.hex()} at octet {at}")
        code = int.from_bytes(payload[code_at:id_at], self.order)
        known = {number: argument.octets for number, argument in self._orders().values()}
        if code not in known:
            raise FrameError("unknown_code", f"octet {code_at}: {code} is no command")
        check_at = argument_at + known[code]
        kind = self._meant(code, payload[argument_at:check_at])
        _, argument = self._orders()[kind]
        end = check_at + (0 if self.check is None else checksum_octets(self.check))
        if end > len(payload):
            raise FrameError("wrong_length", f"the command at octet {at} ends early")
        if self.check is not None:
            stated = int.from_bytes(payload[check_at:end], self.check_order or self.order)
            if checksum(self.check, payload[at:check_at]) != stated:
                raise FrameError("wrong_check", f"the {self.check.value} does not fit")
        command_id = int.from_bytes(payload[id_at:slot_at], self.order)
        slot = int.from_bytes(payload[slot_at:argument_at], self.order)
        itself = (1 << 8 * self.slot_octets) - 1
        command = CommandOut(command_id, kind, slot=None if slot == itself else slot)
        return argument.read(payload[argument_at:check_at], self.order, command), end
