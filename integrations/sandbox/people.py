"""The made-up population that all data vendors of the sandbox know, each in part.

Everything follows from the seed and a place in the list, so there are no files, and two sandboxes
with one seed agree. Addresses outside the list are known, too, by rules over their text: the same
address always gets the same answers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from integrations.sandbox.places import AREAS, FIRST, LAST, PLACES, STREETS, ZIPS

Line = Literal["mobile", "landline", "voip"]

SIZE = 50_000
MASK = (1 << 64) - 1

PER_AREA = 10_000
#: Numbers 0 to 149,999 are the first owners', three each; then one for each second owner; then
#: those of people at addresses outside the list.
SECOND_OWNERS, STRANGERS = 3 * SIZE, 4 * SIZE
LINES: tuple[Line, ...] = ("mobile", "landline", "voip")

#: Bits of a property's quick lists, and of how many (of 16) properties each is.
QUICK_LISTS = {
    "owner-occupied": 11, "absentee-owner": 5, "high-equity": 8, "free-and-clear": 4,
    "senior-owner": 6, "vacant": 1, "preforeclosure": 1, "tax-default": 2, "corporate-owned": 1,
    "active-listing": 2, "cash-buyer": 3, "tired-landlord": 1,
}  # fmt: skip


def mix(*numbers: int) -> int:
    """64 well-mixed bits of some whole numbers (splitmix64)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & MASK)) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


def hashed(seed: int, text: str) -> int:
    """64 bits of a text."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


class Traits(NamedTuple):
    """What a search filters by."""

    zip: str
    lists: frozenset[str]
    value: int
    equity: int
    age: int


@dataclass(kw_only=True)
class Phone:
    """A number (ten digits) and what is true of it."""

    number: str
    line: Line
    dnc: bool = False
    tcpa: bool = False
    reachable: bool = True


@dataclass(kw_only=True)
class Resident:
    """A person: who they are, how they are reached, and which vendor knows what of them."""

    first: str
    last: str
    phones: list[Phone] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    litigator: bool = False
    deceased: bool = False
    born: str = ""

    @property
    def full(self) -> str:
        return f"{self.first} {self.last}"


@dataclass(kw_only=True)
class Household:
    """What is true of an address, and how much of it each vendor knows."""

    key: str
    mak: str
    fips: str
    apn: str
    residents: list[Resident]
    melissa: bool
    melissa_phone: bool
    melissa_email: bool
    batchdata: bool
    index: int | None = None


class Population:
    """Properties by place in the list: the newest has the highest."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.traits = lru_cache(maxsize=200_000)(self._traits)
        self.listing = lru_cache(maxsize=20_000)(self._listing)

    def _traits(self, index: int) -> Traits:
        bits = mix(self.seed, index, 1)
        lists = {
            name
            for place, (name, of_16) in enumerate(QUICK_LISTS.items())
            if (bits >> (4 * place)) & 15 < of_16
        }
        lists.discard("absentee-owner" if "owner-occupied" in lists else "owner-occupied")
        more = mix(self.seed, index, 2)
        value = 180_000 + (more & 0xFFFF) * 20
        free = "free-and-clear" in lists
        share = 100 if free else (45 if "high-equity" in lists else 5) + ((more >> 16) & 0xFF) % 40
        age = 62 + ((more >> 24) & 31) if "senior-owner" in lists else 28 + ((more >> 24) & 31)
        zip_code = PLACES[index % len(PLACES)][0]
        return Traits(zip_code, frozenset(lists), value, value * share // 100, age)

    def address(self, index: int) -> dict[str, str]:
        """Street, unit, city and so on: one house of a street for each place in the list."""
        zip_code, city, county, fips = PLACES[index % len(PLACES)]
        street = STREETS[index // len(PLACES) % len(STREETS)]
        number = 100 + index // (len(PLACES) * len(STREETS))
        # Every ninth is a flat; a house number never has both a house and a flat.
        unit = str(1 + index % 8) if index % 9 == 0 else ""
        return {
            "street": f"{number} {street}",
            "unit": unit,
            "city": city,
            "state": "CA",
            "zip": zip_code,
            "county": county,
            "countyFipsCode": fips,
            "apn": f"{5000 + index % len(PLACES)}-{index:06d}",
        }

    def index_of(self, street: str, zip_code: str) -> int | None:
        """The place of an address in the list; None of one that is not there."""
        match = re.match(r"(\d{3,6}) (\w+) (ST|AVE)\b", street.upper())
        zip_index = ZIPS.get(zip_code[:5])
        if match is None or zip_index is None:
            return None
        name = f"{match[2].title()} {match[3].title()}"
        if name not in STREETS:
            return None
        per_number = len(PLACES) * len(STREETS)
        index = (int(match[1]) - 100) * per_number + STREETS.index(name) * len(PLACES) + zip_index
        return index if 0 <= index < 4 * SIZE else None

    def owners(self, index: int) -> list[Resident]:
        """The owners of a property: one or two."""
        bits = mix(self.seed, index, 3)
        last = LAST[(bits >> 8) % len(LAST)]
        first = FIRST[bits % len(FIRST)]
        born = 2026 - self.traits(index).age
        people = [self._resident(first, last, index, bits, born)]
        if bits >> 60 < 4:
            second = FIRST[(bits >> 16) % len(FIRST)]
            if second != first:
                number = SECOND_OWNERS + index if index < SIZE else self._stray(f"2:{index}")
                phone = Phone(number=number_of(number), line="mobile")
                other = Resident(first=second, last=last, phones=[phone], born=f"{born + 2}-06-01")
                people.append(other)
        return people

    def _resident(self, first: str, last: str, index: int, bits: int, born: int) -> Resident:
        phones = []
        for place, line in enumerate(LINES[: 1 + (bits >> 20) % 3]):
            slot = 3 * index + place if index < SIZE else self._stray(f"{index}:{place}")
            flags = mix(self.seed, slot, 4)
            phones.append(
                Phone(
                    number=number_of(slot),
                    line=line if index < SIZE else "mobile",
                    dnc=flags % 100 < 15,
                    tcpa=(flags >> 8) % 100 < 3,
                    reachable=(flags >> 16) % 100 < 88,
                )
            )
        email = f"{first}.{last}.{index}@example.com".lower()
        return Resident(
            first=first,
            last=last,
            phones=phones,
            emails=[email] if (bits >> 28) % 100 < 75 else [],
            litigator=(bits >> 36) % 100 < 2,
            deceased=(bits >> 44) % 100 < 1,
            born=f"{born}-{1 + (bits >> 40) % 12:02d}",
        )

    def _stray(self, text: str) -> int:
        return STRANGERS + hashed(self.seed, text) % (len(AREAS) * PER_AREA - STRANGERS)

    def household(self, street: str, zip_code: str, unit: str = "") -> Household:
        """What is true of an address, whether it is in the list or not."""
        key = address_key(street, zip_code, unit)
        index = self.index_of(street, zip_code)
        bits = hashed(self.seed, key)
        if index is not None:
            return self.household_at(index)
        first, last = FIRST[bits % len(FIRST)], LAST[(bits >> 8) % len(LAST)]
        phone = Phone(
            number=number_of(self._stray(key)),
            line="mobile",
            dnc=(bits >> 12) % 100 < 15,
            tcpa=(bits >> 20) % 100 < 3,
        )
        resident = Resident(
            first=first,
            last=last,
            phones=[phone],
            emails=[f"{first}.{last}.{bits % 10**6}@example.com".lower()],
            born="1961-05",
        )
        return self._known(key, bits, [resident], mak=bits % 10**9, fips="", apn="")

    def household_at(self, index: int) -> Household:
        """What is true of a property of the list."""
        address = self.address(index)
        key = address_key(address["street"], address["zip"])
        household = self._known(
            key,
            hashed(self.seed, key),
            self.owners(index),
            mak=index,
            fips=address["countyFipsCode"],
            apn=address["apn"],
        )
        household.index = index
        return household

    def _known(
        self, key: str, bits: int, people: list[Resident], *, mak: int, fips: str, apn: str
    ) -> Household:
        return Household(
            key=key,
            mak=f"{8 if fips else 9}{mak:09d}",
            fips=fips,
            apn=apn,
            residents=people,
            melissa=bits % 100 < 70,
            melissa_phone=(bits >> 24) % 100 < 50,
            melissa_email=(bits >> 32) % 100 < 40,
            batchdata=(bits >> 40) % 100 < 80,
        )

    def _listing(self, index: int) -> dict[str, Any]:
        """A property as the search lists it."""
        address, traits = self.address(index), self.traits(index)
        owners = self.owners(index)
        apn = address.pop("apn")
        unit = address.pop("unit")
        street = f"{address['street']} Unit {unit}" if unit else address["street"]
        told = address | {
            "hash": f"{mix(self.seed, index, 8):032x}",
            "addressValidity": "Valid",
            "street": street,
        }
        if unit:
            told |= {"streetNoUnit": address["street"], "unitNumber": unit, "unitType": "Unit"}
        names: list[dict[str, str | None]]
        names = [{"first": one.first, "last": one.last, "full": one.full} for one in owners]
        if "corporate-owned" in traits.lists:
            names = [{"first": None, "last": None, "full": f"{owners[0].last} Holdings LLC"}]
        elsewhere = "absentee-owner" in traits.lists
        mailing = self.address((index * 7 + 13) % SIZE) if elsewhere else address
        bits = mix(self.seed, index, 5)
        return {
            "_id": vendor_id(self.seed, index),
            "address": told,
            "ids": {"apn": apn},
            "owner": {
                "fullName": names[0]["full"],
                "names": names,
                "mailingAddress": {
                    name: mailing[name] for name in ("street", "city", "state", "zip", "county")
                },
            },
            "general": {"propertyTypeDetail": "Condominium" if unit else "Single Family"},
            "building": {
                "bedroomCount": 1 + bits % 5,
                "bathroomCount": 1 + (bits >> 4) % 4 / 2,
                "livingAreaSquareFeet": 700 + (bits >> 8) % 3_000,
                "yearBuilt": 1920 + (bits >> 20) % 100,
            },
            "lot": {"lotSizeSquareFeet": 2_000 + (bits >> 28) % 9_000},
            "assessment": {"totalAssessedValue": traits.value * 7 // 10},
            "demographics": {"age": traits.age},
            "openLien": {"totalOpenLienBalance": traits.value - traits.equity},
            "sale": {
                "lastSale": {"saleDate": f"{1990 + bits % 35}-03-14", "price": traits.value // 2}
            },
            "valuation": {
                "estimatedValue": traits.value,
                "equityCurrentEstimatedBalance": traits.equity,
                "equityPercent": traits.equity * 100 // traits.value,
                "ltv": 100 - traits.equity * 100 // traits.value,
                "confidenceScore": 88,
            },
            "quickLists": {told: name in traits.lists for name, told in TOLD_LISTS.items()},
        }


def camel(name: str) -> str:
    """``tax-default`` as the vendor writes it in an answer: ``taxDefault``."""
    first, *rest = name.split("-")
    return first + "".join(word.title() for word in rest)


TOLD_LISTS = {name: camel(name) for name in QUICK_LISTS}


def vendor_id(seed: int, index: int) -> str:
    """The vendor's id of a property: 32 hexadecimal digits."""
    return f"{mix(seed, index, 6):016x}{mix(seed, index, 7):016x}"


def number_of(slot: int) -> str:
    """Ten digits of the number in a slot."""
    return f"{AREAS[slot // PER_AREA]}555{slot % PER_AREA:04d}"


def line_of(number: str) -> Line | None:
    """The kind of line of a number of the population (ten digits); None of any other."""
    if len(number) != 10 or number[3:6] != "555" or number[:3] not in AREAS:
        return None
    slot = AREAS.index(number[:3]) * PER_AREA + int(number[6:])
    return LINES[slot % 3] if slot < SECOND_OWNERS else "mobile"


def address_key(street: str, zip_code: str, unit: str = "") -> str:
    """An address in one spelling: upper case, without punctuation, ZIP of five digits."""
    words = re.sub(r"[^A-Z0-9 ]", " ", f"{street} {unit}".upper()).split()
    return f"{' '.join(words)}|{zip_code[:5]}"
