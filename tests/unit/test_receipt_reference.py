"""The page about receipts shows what the program writes, and names every key of the document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from slotmeter.testing.sample_receipts import full_receipt

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "receipt.md").read_text()


def test_every_sample_on_the_page_is_what_the_program_writes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "receipt_samples.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_sample_document_has_every_key_there_is() -> None:
    shown = set(re.findall(r'^  "(\w+)":', PAGE, flags=re.MULTILINE))

    assert shown == set(full_receipt().document())
