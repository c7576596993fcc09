"""``python -m slotmeter``: the command line."""

from slotmeter.cli import main

raise SystemExit(main())
