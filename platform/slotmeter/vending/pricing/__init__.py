"""Pricing: from a tender to lines and units, and back; pure."""
