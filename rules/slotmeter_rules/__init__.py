"""Rules shipped with slotmeter."""

from __future__ import annotations

from slotmeter.ports import RulePack
from slotmeter_rules.credit_control import credit_control

__all__ = ["RULES"]

RULES = RulePack(key="builtin", credit_control=credit_control)
