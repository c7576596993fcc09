"""The audit: every stored row is sealed by the unit of work that wrote it, and the seals chained.

``faces`` says what is sealed, ``layout`` fixes it for good, ``unit_seal`` makes the seals while
rows are written, ``adoption`` seals the rows of an older version, ``chain`` and ``walk`` check.
"""
