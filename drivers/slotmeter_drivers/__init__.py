"""Drivers shipped with slotmeter: one small module per meter model."""
