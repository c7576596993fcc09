"""Slotmeter sells electricity, water and gas in advance and runs the meters that deliver it."""

__version__ = "0.1.0"
