"""Customers, addresses and meter numbers of a generated utility: each follows from its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.vending.sts import luhn_digit

__all__ = ["METERS_MAX", "Household", "household"]

METERS_MAX: Final = 10_000_000

_GIVEN: Final = (
    *("Abebe", "Achieng", "Akinyi", "Amina", "Anyango", "Atieno", "Awino", "Baraka", "Beatrice"),
    *("Brian", "Chebet", "Collins", "Daniel", "Dorcas", "Esther", "Faith", "Fatuma", "George"),
    *("Grace", "Halima", "Hassan", "Ibrahim", "Irene", "Jackline", "James", "Jane", "Joseph"),
    *("Juma", "Kevin", "Khadija", "Lilian", "Lucy", "Mary", "Mercy", "Moses", "Mwangi", "Naomi"),
    *("Nekesa", "Njeri", "Omar", "Patrick", "Peter", "Rehema", "Ruth", "Salim", "Samuel", "Sarah"),
    *("Stephen", "Teresa", "Wairimu", "Wanjiku", "Yusuf", "Zainab"),
)
_FAMILY: Final = (
    *("Abdi", "Barasa", "Cheruiyot", "Gathoni", "Githinji", "Kamau", "Karanja", "Kariuki"),
    *("Kimani", "Kiplagat", "Kipkemboi", "Koech", "Langat", "Macharia", "Maina", "Mbugua"),
    *("Mohamed", "Muriuki", "Musyoka", "Mutua", "Mwangi", "Ndegwa", "Ngugi", "Njoroge", "Nyambura"),
    *("Ochieng", "Odhiambo", "Okoth", "Omondi", "Onyango", "Otieno", "Ouma", "Owuor", "Rotich"),
    *("Simiyu", "Wafula", "Waweru", "Wekesa", "Were"),
)
_STREETS: Final = (
    *("Acacia", "Airport", "Baobab", "Bandari", "Bombax", "Cathedral", "Church", "Commercial"),
    *(
        "Forest",
        "Garden",
        "Harambee",
        "Hospital",
        "Jacaranda",
        "Lake",
        "Library",
        "Mango",
        "Market",
    ),
    *(
        "Mosque",
        "Museum",
        "Ocean",
        "Palm",
        "Park",
        "Railway",
        "Ridge",
        "River",
        "School",
        "Station",
    ),
    *("Sunset", "Temple", "Tom Mboya", "Uhuru", "University", "Valley", "Water Works", "Workshop"),
)
_KINDS: Final = ("Road", "Street", "Lane", "Avenue", "Close")
_TOWNS: Final = (
    *("Eldoret", "Garissa", "Kakamega", "Kericho", "Kisii", "Kisumu", "Kitale", "Machakos"),
    *("Malindi", "Meru", "Mombasa", "Nairobi", "Naivasha", "Nakuru", "Nanyuki", "Nyeri", "Thika"),
)
_WARDS: Final = ("Central", "East", "Hill", "Lakeside", "North", "South", "West")
# A multiplier that is odd and prime to the sizes above spreads neighbours over names and places.
_SPREAD: Final = 2_654_435_761
_WHOLE: Final = 1 << 32
_FIRST_SERIAL: Final = 30_000_000


@dataclass(frozen=True, slots=True)
class Household:
    """A customer with an account, a supply point and a meter."""

    meter: str
    number: str
    name: str
    phone: str
    area: str
    address: str


def household(index: int) -> Household:
    """Return the household of an index from 0; the same one at every call."""
    digits = f"07{_FIRST_SERIAL + index:08d}"
    mixed = index * _SPREAD % _WHOLE
    mixed, given = divmod(mixed, len(_GIVEN))
    mixed, family = divmod(mixed, len(_FAMILY))
    mixed, street = divmod(mixed + index, len(_STREETS))
    mixed, kind = divmod(mixed, len(_KINDS))
    town = _TOWNS[index % len(_TOWNS)]
    return Household(
        meter=digits + luhn_digit(digits),
        number=f"C{index + 1:08d}",
        name=f"{_GIVEN[given]} {_FAMILY[family]}",
        phone=f"+2547{index:08d}",
        area=f"{town}/{_WARDS[index // len(_TOWNS) % len(_WARDS)]}",
        address=f"{_STREETS[street]} {_KINDS[kind]} {index % 997 + 1}",
    )
