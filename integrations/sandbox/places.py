"""Where the made-up people live, and what they are called."""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


#: ZIP, city, county, FIPS. All in California, so that one clock serves.
PLACES = [
    ("90028", "Los Angeles", "Los Angeles", "06037"),
    ("90038", "Los Angeles", "Los Angeles", "06037"),
    ("90046", "Los Angeles", "Los Angeles", "06037"),
    ("90210", "Beverly Hills", "Los Angeles", "06037"),
    ("90405", "Santa Monica", "Los Angeles", "06037"),
    ("90802", "Long Beach", "Los Angeles", "06037"),
    ("91101", "Pasadena", "Los Angeles", "06037"),
    ("91201", "Glendale", "Los Angeles", "06037"),
    ("91502", "Burbank", "Los Angeles", "06037"),
    ("91910", "Chula Vista", "San Diego", "06073"),
    ("92101", "San Diego", "San Diego", "06073"),
    ("92109", "San Diego", "San Diego", "06073"),
    ("92373", "Redlands", "San Bernardino", "06071"),
    ("92501", "Riverside", "Riverside", "06065"),
    ("92612", "Irvine", "Orange", "06059"),
    ("92701", "Santa Ana", "Orange", "06059"),
    ("92802", "Anaheim", "Orange", "06059"),
    ("93101", "Santa Barbara", "Santa Barbara", "06083"),
    ("93301", "Bakersfield", "Kern", "06029"),
    ("93701", "Fresno", "Fresno", "06019"),
    ("94110", "San Francisco", "San Francisco", "06075"),
    ("94501", "Alameda", "Alameda", "06001"),
    ("94607", "Oakland", "Alameda", "06001"),
    ("95112", "San Jose", "Santa Clara", "06085"),
    ("95814", "Sacramento", "Sacramento", "06067"),
]
ZIPS = {place[0]: index for index, place in enumerate(PLACES)}

TREES = words(
    "Maple Oak Cedar Pine Elm Birch Walnut Cherry Spruce Willow Laurel Magnolia Aspen Hazel Juniper"
    " Linden Poplar Sycamore Chestnut Hickory Alder Cypress Redwood Olive Acacia"
)
STREETS = [f"{tree} {kind}" for kind in ("St", "Ave") for tree in TREES]

FIRST = words(
    "Avery Jordan Riley Casey Morgan Quinn Rowan Skyler Taylor Reese Parker Hayden Emerson Finley"
    " Harper Kendall Logan Marley Peyton Sawyer Alexis Blake Cameron Dakota Ellis Frankie Gray"
    " Hollis Jamie Kai Lane Micah Nico Oakley Phoenix Remy Sage Tatum Val Wren"
)
LAST = words(
    "Abbott Barlow Calloway Draper Eastman Fairbanks Garner Hadley Ingram Jarvis Keller Langley"
    " Merritt Norwood Osborne Prescott Quigley Ramsey Sheldon Thatcher Underwood Vance Whitaker"
    " Yates Zimmer Ashford Benton Carver Dalton Ellison Foster Granger Holloway Irving Jennings"
    " Kirby Lockwood Monroe Nash Ogden"
)

#: Area codes in which nobody of the demo lives; ten thousand numbers 555-xxxx in each.
AREAS = words(
    "209 279 341 350 424 442 530 559 628 657 661 669 707 738 747 760 805 820 831 840 909 916 925"
    " 949 951"
)
