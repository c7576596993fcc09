"""Ask meters for many things over a network that loses, delays, doubles and reorders messages.

In virtual time, with all chance drawn from one seed, people ask a thousand meters for tokens to be
loaded, supply to be cut and given back, limits, tariffs and clocks to be set. The server is stopped
at random moments, in the middle of whatever it does. A third of the meters do a command again when
it comes again, a third forget what they did. At the end every command is held against its meter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from command_devices import SimulatedMeter
from command_world import COMMANDS_PER_DEVICE, World
from proof import Proof, Trial, main
from slotmeter.devices.commands import (
    CUTTING,
    ENDED,
    NOT_DONE,
    RESTORING,
    CommandKind,
    CommandState,
)
from slotmeter.testing.virtual_time import run_virtual

PROOF = Proof(
    name="commands",
    claim="every command ends once, meters are as last asked, and no token is credited twice",
    sizes="commands",
    size_full=20_000,
    seed=20_261_122,
)
REPEATED = 400
"""So many commands are asked for twice from one seed, to see that a run repeats exactly."""

GROUPS: Mapping[str, frozenset[str]] = {
    "supply": frozenset(kind.value for kind in CUTTING | RESTORING),
    "load limit": frozenset({CommandKind.SET_LOAD_LIMIT.value}),
    "tariff": frozenset({CommandKind.SET_TARIFF.value}),
}
TERMINAL = frozenset(state.value for state in ENDED)
Rows = list[dict[str, Any]]


def run(trial: Trial) -> None:
    """Live through it, and judge."""
    world = _lived(trial, "whole", trial.size)
    commands = world.database.rows("SELECT * FROM command ORDER BY id")
    _figures(trial, world, commands)
    _ends(trial, world, commands)
    _intents(trial, world, commands)
    _tokens(trial, world)
    size = min(REPEATED, trial.size)
    first = world.digest() if size == trial.size else _digest(trial, "first", size)
    world.database.close()
    second = _digest(trial, "second", size)
    trial.check(
        f"two runs of one seed with {size} commands are the same, line by line",
        first == second,
        f"{first[:16]} and {second[:16]}",
    )


def _lived(trial: Trial, name: str, commands: int) -> World:
    folder = trial.folder / name
    folder.mkdir()
    world = World(
        folder,
        trial.seed,
        max(1, commands // COMMANDS_PER_DEVICE),
        commands,
        trial.progress,
    )
    run_virtual(world.run)
    return world


def _digest(trial: Trial, name: str, commands: int) -> str:
    world = _lived(trial, name, commands)
    digest = world.digest()
    world.database.close()
    return digest


def _figures(trial: Trial, world: World, commands: Rows) -> None:
    trial.figure("meters", len(world.meters))
    trial.figure("commands asked for", world.asked)
    trial.figure("commands made", len(commands))
    again = sum("asked again" in row["reason"] for row in commands)
    trial.figure("of these made again by the platform", again)
    trial.figure("stops of the server", world.restarts)
    for name, count in sorted(world.seen.items()):
        trial.figure(name, count)
    trial.figure("commits", world.database.units)
    for state, count in sorted(Counter(row["state"] for row in commands).items()):
        trial.figure(f"commands that ended {state}", count)


def _ends(trial: Trial, world: World, commands: Rows) -> None:
    still = [row["id"] for row in commands if row["state"] not in TERMINAL]
    trial.check("no command is open at the end", not still, f"{still[:5]}")
    lines: dict[int, list[str]] = {}
    for row in world.database.rows("SELECT command_id, state FROM command_log ORDER BY id"):
        lines.setdefault(row["command_id"], []).append(row["state"])
    twice = [
        command_id
        for command_id, states in lines.items()
        if len({state for state in states if state in TERMINAL}) != 1
        or any(state not in TERMINAL for state in states[_first_end(states) :])
    ]
    trial.check(
        "every command reached exactly one terminal state and never left it",
        not twice and len(lines) == len(commands),
        f"{len(lines):,} histories, wrong: {twice[:5]}",
    )


def _first_end(states: Iterable[str]) -> int:
    return next(at for at, state in enumerate([*states, next(iter(TERMINAL))]) if state in TERMINAL)


def _intents(trial: Trial, world: World, commands: Rows) -> None:
    sent: dict[int, Rows] = {}
    for row in commands:
        if row["sent_us"]:
            sent.setdefault(row["meter_id"], []).append(row)
    for group, kinds in GROUPS.items():
        wrong, doubtful, asked = [], 0, 0
        for meter in world.meters.values():
            of_meter = [row for row in sent.get(meter.row.id, ()) if row["kind"] in kinds]
            last = next((row for row in reversed(of_meter) if _is_accepted(row)), None)
            if last is None:
                continue
            asked += 1
            if any(_is_doubtful(row) for row in of_meter if row["id"] > last["id"]):
                doubtful += 1
            elif not _is_as_asked(meter, last):
                wrong.append((meter.row.number, last["id"], last["kind"], meter.make.name))
        trial.figure(f"meters with a {group} asked for", asked)
        trial.figure(f"of these without an answer to what came after ({group})", doubtful)
        trial.check(
            f"the {group} of every meter is what was last accepted", not wrong, f"{wrong[:4]}"
        )


def _is_accepted(row: Mapping[str, Any]) -> bool:
    return bool(row["state"] == CommandState.VERIFIED)


def _is_doubtful(row: Mapping[str, Any]) -> bool:
    """Say whether a command was given up after it was sent, with no word from its meter."""
    return row["result"] not in {outcome.value for outcome in NOT_DONE}


def _is_as_asked(meter: SimulatedMeter, row: Mapping[str, Any]) -> bool:
    kind = CommandKind(row["kind"])
    if kind in CUTTING | RESTORING:
        return meter.supply.value == ("off" if kind in CUTTING else "on")
    if kind is CommandKind.SET_LOAD_LIMIT:
        return bool(meter.load_limit_w == row["value"])
    return meter.tariff == int(row["text"])


def _tokens(trial: Trial, world: World) -> None:
    tokens = world.database.rows(
        "SELECT token.*, sale.delivery, command.state AS command_state FROM token"
        " JOIN sale ON sale.id = token.sale_row_id JOIN command ON command.token_id = token.id"
    )
    trial.figure("tokens sold", len(tokens))
    twice, untrue, unknown, wrong = [], [], [], []
    booked: Counter[int] = Counter()
    for row in tokens:
        times = world.meters[row["meter_id"]].credited.count(row["tid"])
        if times > 1:
            twice.append(row["id"])
        if row["delivery"] in {"accepted", "verified", "already_used"} and not times:
            untrue.append(row["id"])
        if times and row["accepted_us"] is None:
            unknown.append(row["id"])
        if row["accepted_us"] is not None:
            booked[row["meter_id"]] += row["amount"]
    for meter_id, meter in world.meters.items():
        if booked[meter_id] != meter.credit_total:
            wrong.append(meter.row.number)
    verified = sum(row["delivery"] == "verified" for row in tokens)
    trial.figure("sales that ended with their credit proven", verified)
    trial.check("no meter credited a token twice", not twice, f"{twice[:5]}")
    trial.check("no sale is called delivered whose meter lacks it", not untrue, f"{untrue[:5]}")
    trial.check("no credit is in a meter unknown to the platform", not unknown, f"{unknown[:5]}")
    trial.check(
        "the credit of every meter is the sum of the tokens it is known to have taken",
        not wrong,
        f"{wrong[:5]}",
    )


if __name__ == "__main__":
    raise SystemExit(main(PROOF, run))
