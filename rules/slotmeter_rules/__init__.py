"""Rules shipped with slotmeter."""
