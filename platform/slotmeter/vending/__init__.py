"""The domain of selling: pure rules on exact values, no I/O, no clock, no logging."""
