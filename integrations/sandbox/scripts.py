"""Scripted leads: what a handset answers, chosen by its number, so that a demo lives by itself.

A script is a list of turns. A handset says each turn once to each of our numbers, so it never
answers more than one text per text received and falls silent at the end of its script.
"""

from __future__ import annotations

import hashlib

SCRIPTS: dict[str, tuple[str, ...]] = {
    "yes": (
        "Yes, still interested. What would the next step be?",
        "That works for me, thank you",
    ),
    "question": (
        "What is the offer for the property?",
        "And how soon could you close?",
        "Ok sounds good, let me talk to my wife tonight",
    ),
    "details": (
        "Sure, use {email} and my cell {mobile}",
        "Tomorrow after 10 is good",
    ),
    "call_me": (
        "Can you call me this afternoon?",
        "Great, talk soon",
    ),
    "stop": ("STOP",),
    "wrong_number": ("Wrong number, sorry",),
    "busy": (
        "Who is this?",
        "Ah ok. Not right now, maybe in the spring",
    ),
    "silence": (),
    "unreachable": (),
}

#: By the last digit of the handset's number.
BY_LAST_DIGIT = {
    "0": "yes",
    "1": "question",
    "2": "details",
    "3": "call_me",
    "4": "stop",
    "5": "wrong_number",
    "6": "busy",
    "7": "silence",
    "8": "yes",
    "9": "silence",
}

FASTEST_SECONDS = 1.0
SPREAD_SECONDS = 3.0


def script_for(number: str) -> str:
    """Name of the script of a handset (digits); numbers ending in 99 cannot be reached."""
    if number.endswith("99"):
        return "unreachable"
    return BY_LAST_DIGIT.get(number[-1:], "silence")


def answer(number: str, script: str, turn: int, name: str = "") -> str | None:
    """What the handset says on this turn (0 is the first), or nothing."""
    turns = SCRIPTS.get(script, ())
    if turn >= len(turns):
        return None
    first = (name.split() or ["owner"])[0].lower()
    words = "".join(letter for letter in first if letter.isascii() and letter.isalpha()) or "owner"
    # The second phone of a handset: an area code in which the demo has no leads.
    mobile = f"(213) 555-01{number[-2:]}"
    return turns[turn].format(email=f"{words}.{number[-4:]}@example.com", mobile=mobile)


def think_seconds(number: str, turn: int, seed: int) -> float:
    """How long the person takes: 1 to 4 s, the same on every run with the same seed."""
    mark = hashlib.sha256(f"{seed}:{number}:{turn}".encode()).digest()
    return FASTEST_SECONDS + SPREAD_SECONDS * int.from_bytes(mark[:2], "big") / 0xFFFF
