"""Writes the samples of docs/reference/receipt.md with the program itself, and photographs one.

``python docs/receipt_samples.py`` prices a purchase by a tariff that is shipped, makes its receipt
and puts every form of it below its heading on the page; ``--check`` changes nothing and fails if
the page says anything else. ``--pictures`` photographs the page form for docs/images/ (needs
chromium).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from slotmeter.tariff_packs import pack_texts
from slotmeter.testing.sample_receipts import full_receipt
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import ChargeState, DebtState, Situation
from slotmeter.vending.receipts import (
    Receipt,
    explain,
    render_html,
    render_message,
    render_text,
)
from slotmeter.vending.receipts.assembly import line_dicts, particulars_of
from slotmeter.vending.tariff.reader import read_tariff

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "receipt.md"
IMAGES = ROOT / "docs" / "images"
PACK = "ke-kplc-dc-fixed-charge-era"
TENDER_MINOR = 200_000
BLOCK = re.compile(r"(<!-- sample: (\S+) -->\n```\w+\n).*?(^```$)", flags=re.DOTALL | re.MULTILINE)


def sample() -> Receipt:
    """Price a purchase of 2000.00 with a debt and the month's charge, and make its receipt."""
    _, tariff = read_tariff(pack_texts()[PACK])
    frame = full_receipt()
    situation = Situation(
        at_us=frame.sold_us,
        time_zone=frame.time_zone,
        prior_units=40_000,
        charges=(ChargeState("monthly", "2026-11"),),
        debts=(
            DebtState(1, "arrears", "Old arrears", 1, 150_000, percent="15", number="D00000001"),
        ),
    )
    priced = price_tender(tariff, situation, TENDER_MINOR)
    bare = replace(frame, tokens=(), free=(), debts=(), outlook=None).to_dict()
    bare |= particulars_of(priced, situation)
    bare |= {
        "lines": line_dicts(priced.lines),
        "quantity": priced.units,
        "currency": tariff.currency,
        "tariff_code": tariff.code,
        "tariff_title": tariff.title,
        "delivery": "keypad",
    }
    return Receipt.from_dict(bare)


def samples() -> dict[str, str]:
    """Return every sample by its name on the page."""
    receipt = sample()
    texts = {
        "text58": render_text(receipt, 58),
        "text58-fr-ascii": render_text(receipt, 58, language="fr", ascii_letters=True),
        "text80-reprint": render_text(receipt, 80, reprint=True),
        "trial": render_text(receipt.as_trial(), 58),
        "json": json.dumps(receipt.document(), indent=2, ensure_ascii=False) + "\n",
    }
    for language in ("en", "fr", "es", "pt"):
        message = render_message(receipt, language=language)
        about = f"({message.characters} characters, {message.encoding}, {message.parts} message)"
        texts[f"message-{language}"] = f"{message.text}\n{about}\n"
        texts[f"explain-{language}"] = "\n".join(explain(receipt, language)) + "\n"
    return texts


def written(page: str) -> str:
    """Put every sample where the page has a place for it."""
    texts = samples()
    return BLOCK.sub(lambda found: f"{found[1]}{texts[found[2]]}{found[3]}", page)


def photograph() -> None:
    """Take the page form as a browser and as a phone show it."""
    from screenshots import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as driver:
        for name, language, width in (("receipt", "en", 760), ("receipt-phone", "fr", 360)):
            file = Path(folder) / f"{name}.html"
            file.write_text(render_html(sample(), language=language))
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(file.as_uri())
            size["height"] = driver.execute_script("return document.body.scrollHeight")
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.save_screenshot(str(IMAGES / f"{name}.png"))


def main() -> int:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--pictures", action="store_true", help="photograph the page form")
    options = parser.parse_args()
    if options.pictures:
        photograph()
        return 0
    page = PAGE.read_text()
    fresh = written(page)
    if options.check:
        places = {found[2] for found in BLOCK.finditer(page)}
        missing = sorted(set(samples()) - places)
        if missing or fresh != page:
            print(f"{PAGE.name} is not as the program writes it; missing: {missing}")
            return 1
        return 0
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
