"""Time zones a phone number may be in, offline. Area codes are coarse: often it is several."""

from __future__ import annotations

from functools import lru_cache

import phonenumbers
from phonenumbers import timezone as phone_zones

#: More candidates than this (toll-free numbers have dozens) narrow nothing down.
MOST_ZONES = 6

_EASTERN, _CENTRAL = "America/New_York", "America/Chicago"
_MOUNTAIN, _PACIFIC = "America/Denver", "America/Los_Angeles"
#: State → the zones it lies in.
STATE_ZONES: dict[str, tuple[str, ...]] = {}
for _states, _zones in (
    ("CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV", (_EASTERN,)),
    ("AL AR IA IL LA MN MO MS OK WI", (_CENTRAL,)),
    ("CO MT NM UT WY", (_MOUNTAIN,)),
    ("CA WA", (_PACIFIC,)),
    ("FL IN KY MI TN", (_EASTERN, _CENTRAL)),
    ("KS ND NE SD TX", (_CENTRAL, _MOUNTAIN)),
    ("ID NV OR", (_MOUNTAIN, _PACIFIC)),
    ("AZ", ("America/Phoenix",)),
    ("AK", ("America/Anchorage",)),
    ("HI", ("Pacific/Honolulu",)),
):
    STATE_ZONES.update(dict.fromkeys(_states.split(), _zones))

#: State and its area codes, a line each. Codes given out later are in no state: nothing is lost
#: but a narrower window. A test compares this with what ``phonenumbers`` says of each code.
_AREA_CODES = """
    AK 907
    AL 205 251 256 334 659 938
    AR 327 479 501 870
    AZ 480 520 602 623 928
    CA 209 213 279 310 323 341 350 369 408 415 424 442 510 530 559 562 619 626 628 650 657
    CA 661 669 707 714 738 747 760 805 818 820 831 840 858 909 916 925 949 951
    CO 303 719 720 748 970 983
    CT 203 475 860 959
    DC 202 771
    DE 302
    FL 239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904
    FL 941 954
    GA 229 404 470 478 678 706 762 770 912 943
    HI 808
    IA 319 515 563 641 712
    ID 208 986
    IL 217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 872
    IN 219 260 317 463 574 765 812 930
    KS 316 620 785 913
    KY 270 364 502 606 859
    LA 225 318 337 504 985
    MA 339 351 413 508 617 774 781 857 978
    MD 227 240 301 410 443 667
    ME 207
    MI 231 248 269 313 517 586 616 734 810 906 947 989
    MN 218 320 507 612 651 763 952
    MO 235 314 417 557 573 636 660 816 975
    MS 228 601 662 769
    MT 406
    NC 252 336 472 704 743 828 910 919 980 984
    ND 701
    NE 308 402 531
    NH 603
    NJ 201 551 609 640 732 848 856 862 908 973
    NM 505 575
    NV 702 725 775
    NY 212 315 329 332 347 363 516 518 585 607 631 646 680 716 718 838 845 914 917 929 934
    OH 216 220 234 283 326 330 380 419 440 513 567 614 740 937
    OK 405 539 572 580 918
    OR 458 503 541 971
    PA 215 223 267 272 412 445 484 570 582 610 717 724 814 835 878
    RI 401
    SC 803 821 839 843 854 864
    SD 605
    TN 423 615 629 731 865 901 931
    TX 210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903
    TX 915 936 940 945 956 972 979
    UT 385 435 801
    VA 276 434 540 571 686 703 757 804 826 948
    VT 802
    WA 206 253 360 425 509 564
    WI 262 274 353 414 534 608 715 920
    WV 304 681
    WY 307
"""
#: Area code → state.
AREA_STATES = {
    code: line.split()[0] for line in _AREA_CODES.strip().splitlines() for code in line.split()[1:]
}


@lru_cache(maxsize=50_000)
def number_zones(address: str) -> frozenset[str]:
    """Return the zones of an E.164 number's area; empty when unknown or too many."""
    try:
        parsed = phonenumbers.parse(address)
    except phonenumbers.NumberParseException:
        return frozenset()
    zones = frozenset(phone_zones.time_zones_for_number(parsed)) - {"Etc/Unknown"}
    return zones if len(zones) <= MOST_ZONES else frozenset()


def number_state(address: str) -> str:
    """Return the state of an American number's area code; ``""`` when it has none."""
    is_american = len(address) == 12 and address.startswith("+1")
    return AREA_STATES.get(address[2:5], "") if is_american else ""


def candidate_zones(address: str, region: str = "") -> frozenset[str]:
    """Return every zone the person may be in.

    Of the number, of the state of its area code, and of the state of the postal address: an area
    code alone is coarse, and says nothing of where the person moved to.
    """
    states = {region.upper(), number_state(address)} & STATE_ZONES.keys()
    return number_zones(address).union(*(STATE_ZONES[state] for state in states))
