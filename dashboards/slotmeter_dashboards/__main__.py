"""Lets ``python -m slotmeter_dashboards`` start the console."""

import sys

from slotmeter_dashboards.app import main

sys.exit(main())
