"""Made-up people: names, addresses and numbers of the fictional 555-01xx range."""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_NAMES = (
    "Adele Alan Amara Andre Anita Arthur Beatriz Bernard Bianca Calvin Carmen Cedric Clara Colin "
    "Dalia Daniel Denise Diego Dorothy Edgar Elaine Elena Emmett Esther Fatima Felix Fiona Frank "
    "Gloria Gordon Grace Hannah Harold Hector Helen Ian Imani Ingrid Isaac Ivy Jamal Janet Jerome "
    "Joan Julian June Karen Keith Kiran Laura Leon Lillian Lorenzo Lucia Malik Marcus Maria Martin "
    "Mei Miriam Monica Nadia Nathan Nina Noel Nora Olga Omar Oscar Owen Patricia Paul Priya "
    "Quentin Rachel Rafael Ramona Raymond Rita Robert Rosa Ruth Samuel Sandra Simone Stella "
    "Tamara Theo Tobias Ursula Valerie Victor Vivian Walter Wanda Xavier Yolanda Yusuf Zoe"
)
LAST_NAMES = (
    "Abbott Aguilar Ahmed Alvarez Baker Barnes Bauer Becker Bennett Blake Boyd Brandt Brooks Byrne "
    "Calderon Carver Castillo Chandra Chen Clarke Coleman Conte Cruz Dalton Delgado Diaz Dixon "
    "Doyle Duarte Ellison Espinoza Farrell Fischer Fleming Flores Foster Fuentes Gallagher Garner "
    "Gibbs Grant Greene Hale Harper Hayes Herrera Holt Hughes Ibarra Iverson Jennings Johansson "
    "Kaplan Keller Khan Kowalski Lambert Lang Lopez Lowe Lynch Maddox Marino Marsh Mendez Mercer "
    "Molina Moody Morales Nash Navarro Nguyen Novak Ochoa Okafor Ortega Osborne Park Patel Perez "
    "Petrov Pike Quinn Ramsey Reyes Rhodes Rivera Rossi Santos Schmidt Shaw Silva Sutton Tanaka "
    "Tate Thornton Torres Underwood Valdez Vance Vega Walsh Webb Weiss Whitaker Wu Yates Zhang"
)
STREETS = (
    "Alder Ash Bayview Beacon Birch Bridge Canal Cedar Chapel Charles Cherry Chestnut Church Clay "
    "Clover Cypress Dogwood Elm Fairview Fern Franklin Garden Grove Harbor Hawthorn Hazel Hickory "
    "Highland Hillcrest Holly Juniper Lakeview Laurel Liberty Linden Locust Magnolia Maple Meadow "
    "Mill Mulberry Myrtle Oak Orchard Park Pearl Pine Poplar Prospect Quarry Ridge River School "
    "Spring Spruce Summit Sycamore Valley Vine Walnut Washington Water Willow"
)
ENDINGS = ("St", "Ave", "Rd", "Ln", "Dr", "Ct", "Pl", "Ter")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A city and the area code of its made-up phones."""

    area_code: str
    city: str
    region: str
    postal_prefix: str


PLACES = (
    Place(area_code="202", city="Washington", region="DC", postal_prefix="200"),
    Place(area_code="212", city="New York", region="NY", postal_prefix="100"),
    Place(area_code="404", city="Atlanta", region="GA", postal_prefix="303"),
    Place(area_code="617", city="Boston", region="MA", postal_prefix="021"),
    Place(area_code="305", city="Miami", region="FL", postal_prefix="331"),
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One made-up lead. *phone* is E.164; its last digit chooses the handset's script."""

    first_name: str
    last_name: str
    phone: str
    address: str
    unit: str
    place: Place
    postal_code: str

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def email(self) -> str:
        return f"{self.first_name}.{self.last_name}@example.com".lower()

    @property
    def street(self) -> str:
        """The address as people say it: without the house number."""
        return self.address.split(" ", 1)[1]

    @property
    def second_phone(self) -> str:
        """A mobile in an area code in which nobody else lives."""
        return f"+1213{self.phone[-7:]}"


def make_people(count: int, *, seed: str, first_ending: int) -> list[Person]:
    """Make *count* people, the same for the same *seed*, five to an ending of 555-01xx.

    Endings 00 to 09 are left to the tenants' own numbers.
    """
    chance = random.Random(seed)  # noqa: S311  (no secret: names must be the same every time)
    people: list[Person] = []
    names: set[tuple[str, str]] = set()
    first_names, last_names, streets = FIRST_NAMES.split(), LAST_NAMES.split(), STREETS.split()
    for place_in_row in range(count):
        place = PLACES[place_in_row % len(PLACES)]
        ending = first_ending + place_in_row // len(PLACES)
        first, last = chance.choice(first_names), chance.choice(last_names)
        while (first, last) in names:
            last = chance.choice(last_names)
        names.add((first, last))
        street = f"{chance.choice(streets)} {chance.choice(ENDINGS)}"
        people.append(
            Person(
                first_name=first,
                last_name=last,
                phone=f"+1{place.area_code}55501{ending:02d}",
                address=f"{chance.randint(3, 980)} {street}",
                unit=f"Apt {chance.randint(1, 40)}" if chance.random() < 0.15 else "",
                place=place,
                postal_code=f"{place.postal_prefix}{chance.randint(1, 99):02d}",
            )
        )
    return people
