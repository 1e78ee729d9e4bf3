"""What an inbound text means. Pure: the order of the rules is the order of the code below.

Opt-out is tested before everything. What looks like a refusal without being certain is held for a
person, never guessed in either direction. The words themselves are in ``leads.wording``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from leads import answers, wording
from leads.captures import find_emails, find_mobile, normalize_email, without

#: Of the rules below and of the words in ``leads.wording``; kept with every choice they settle.
READER_VERSION = "2026-11-1"

Kind = Literal[
    "opt_out",
    "hold",
    "help",
    "opt_in",
    "wrong_number",
    "wants_call",
    "question",
    "positive",
    "not_interested",
    "thanks",
    "unclear",
]

#: Kinds that may carry the sign of high intent.
WARM = frozenset({"wants_call", "question", "positive"})

APOSTROPHES = re.compile("['`\u2018\u2019\u201b\u00b4\u2032\u02bc\u02b9]")
#: Letters typed apart: "S T O P", "s.t.o.p".
SPELLED_STOP = re.compile(r"(?<![^\W_])s[\W_]{1,3}t[\W_]{1,3}o[\W_]{1,3}p(?![^\W_])")
JOINERS = re.compile(r"(?<=\w)[-\u2010\u2011_+=](?=\w)")
CENSORED = re.compile(r"(?<![^\W_])f[@#$%!.*]{1,4}c?k(?![^\W_])")
SPOKEN_SIGNS = {"&": "and", "#": "number", "/": "or"}
BREAKS = re.compile(r"[^\w\s*|]+|[\r\n]+|_+")
BLANKS = re.compile(r"\s+")
LONG_RUNS = re.compile(r"([a-z])\1{2,}")
PHRASES = [
    (re.compile(r"\bun subscri\w*"), "unsubscribe"),
    (re.compile(r"\bopt(?:ing|ed)?(?: me| us)? ?out\b"), "optout"),
    (re.compile(r"\bstop all\b(?= \||$)"), "stopall"),
    (re.compile(r"\bno mas\b(?= \||$| por favor| porfa| ya| gracias| please)"), "nomas"),
]

#: A phone reports a reaction by quoting our own text, opt-out instruction included.
REACTION = re.compile(
    r"\s*(?P<verb>liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted \S{1,16} to|"
    r"removed an? \w{1,12} from|\W{1,16}to)\s{1,4}[\"\u201c\u201f].*[\"\u201d]\s*",
    re.DOTALL | re.IGNORECASE,
)
REACTION_KINDS: dict[str, Kind] = {
    "liked": "positive",
    "loved": "positive",
    "emphasized": "positive",
    "emphasised": "positive",
    "questioned": "question",
    "disliked": "not_interested",
}

#: Letters of other alphabets that look like ours; used only when the whole word becomes Latin.
LOOKALIKES = str.maketrans(
    "\u0430\u0432\u0441\u0435\u043d\u0456\u043a\u043c\u043e\u0440\u0455\u0442\u0443\u0445"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
    "abcehikmopstyxaeikvoptux",
)
LEET = str.maketrans("01345", "oieas")
LETTER_SIGNS = {
    **{0x1F1E6 + number: chr(ord("a") + number) for number in range(26)},
    **{0x1F150 + number: chr(ord("a") + number) for number in range(26)},
    **{0x1F170 + number: chr(ord("a") + number) for number in range(26)},
}
#: Words worth undoing digits-for-letters for.
DISGUISED = wording.STOP_WORDS | wording.SOFT_STOP_WORDS

#: A text is read up to this many characters at its beginning and as many at its end: a carrier
#: takes 1,600 of a text, so more is somebody's experiment, and a person looks at it anyway.
READ_AT_EACH_END = 10_000

#: Words up to this many characters are remembered in their plain form.
LONGEST_KNOWN = 24

#: How far "unsubscribe" may be misspelt, in edits.
MAX_EDITS = 3


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The meaning of one text. Captures come with any kind."""

    kind: Kind
    keyword: str = ""  # the word or phrase that settled an opt-out, hold, help or opt-in
    email: str = ""  # the first valid one, normalised
    email_raw: str = ""  # as written
    mobile: str = ""  # E.164, of a US mobile that is not the sender's
    mobile_raw: str = ""
    needs_review: bool = False  # a person should look before anything automatic goes on
    high_intent: bool = False


def read_text(body: str, *, sender: str = "") -> Reading:
    """Read one inbound text; *sender* is the address it came from, never captured as a mobile."""
    text = _ends(unicodedata.normalize("NFKC", _ends(body)))
    reaction = REACTION.fullmatch(_visible(text))
    if reaction:
        verb = reaction["verb"].lower()
        return Reading(kind=REACTION_KINDS.get(verb, "unclear"), needs_review=True)
    spans = find_emails(text)
    raw = text[slice(*spans[0])] if spans else ""
    words = without(text, spans)
    mobile, mobile_raw = find_mobile(words, sender=sender)
    flat = flatten(words)
    reading = (
        _read_refusal(flat, words)
        or _read_keyword(flat)
        or _read_answer(flat, words, bool(raw or mobile))
    )
    return replace(
        reading,
        needs_review=reading.needs_review or len(body) > 2 * READ_AT_EACH_END,
        email=normalize_email(raw) if raw else "",
        email_raw=raw,
        mobile=mobile,
        mobile_raw=mobile_raw,
    )


def read_refusal(body: str) -> Reading | None:
    """Return what ``read_text`` would, if that is an opt-out or a hold, else None.

    Half the work, for intake, where nothing else matters; captures are left out.
    """
    text = _ends(unicodedata.normalize("NFKC", _ends(body)))
    if REACTION.fullmatch(_visible(text)):
        return None
    words = without(text, find_emails(text))
    return _read_refusal(flatten(words), words)


def _ends(text: str) -> str:
    if len(text) <= 2 * READ_AT_EACH_END:
        return text
    return f"{text[:READ_AT_EACH_END]}\n{text[-READ_AT_EACH_END:]}"


def flatten(text: str) -> str:
    """Return *text* in the form the patterns of ``leads.wording`` are written for."""
    text = _visible(unicodedata.normalize("NFKC", text)).translate(LETTER_SIGNS).lower()
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in parts if unicodedata.category(char) != "Mn")
    text = CENSORED.sub("fuck", SPELLED_STOP.sub("stop", APOSTROPHES.sub("", text)))
    for sign, word in SPOKEN_SIGNS.items():
        text = text.replace(sign, f" {word} ")
    text = JOINERS.sub(" ", text)
    text = BREAKS.sub(" | ", text)
    text = " ".join(
        _plain_known(word) if len(word) <= LONGEST_KNOWN else _plain(word)
        for word in BLANKS.split(text)
        if word
    )
    text = re.sub(r"(?:\| )+", "| ", text).strip("| ")
    for pattern, word in PHRASES:
        text = pattern.sub(word, text)
    return text


def _visible(text: str) -> str:
    """Drop what nobody sees: zero-width characters, joiners, variation selectors, NUL."""
    if text.isascii() and text.isprintable():  # nearly all texts; there is nothing to drop
        return text
    return "".join(
        char
        for char in text
        if unicodedata.category(char) not in ("Cf", "Cc", "Cs", "Co") or char in "\t\n\r"
    )


@lru_cache(maxsize=20_000)
def _plain_known(word: str) -> str:
    """``_plain``, remembered: people use few words, and mostly the same."""
    return _plain(word)


def _plain(word: str) -> str:
    if word == "|":
        return word
    if not word.isascii():
        latin = word.translate(LOOKALIKES)
        word = latin if latin.isascii() else word
    word = LONG_RUNS.sub(r"\1", word.strip("*"))
    if word in wording.MISSPELT:
        return wording.MISSPELT[word]
    undisguised = word.translate(LEET)
    if undisguised in DISGUISED:
        return undisguised
    if wording.JOINED_STOP.fullmatch(word):
        return "stop"
    is_near = word.startswith("uns") and 8 <= len(word) <= 14
    return "unsubscribe" if is_near and _edits(word, "unsubscribe") <= MAX_EDITS else word


def _edits(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, 1):
        last, row[0] = row[0], index
        for column, wanted in enumerate(other, 1):
            change = last + (char != wanted)
            last = row[column]
            row[column] = min(change, row[column] + 1, row[column - 1] + 1)
    return row[-1]


def _read_refusal(flat: str, text: str) -> Reading | None:
    quoted = wording.STOP_QUOTED.search(flat)
    said = wording.STOP_NOUNS.sub(" ", wording.STOP_QUOTED.sub(" ", flat))
    clauses = [clause.split() for clause in said.split("|")]
    keyword = _certain(clauses)
    if keyword:
        return Reading(kind="opt_out", keyword=keyword)
    doubt = _refusing_phrase(said, clauses) or _refusing_sign(flat, text)
    if not doubt and quoted:
        doubt = quoted[0]
    return Reading(kind="hold", keyword=doubt, needs_review=True) if doubt else None


def _certain(clauses: list[list[str]]) -> str:
    keyword = next((found for found in map(_certain_clause, clauses) if found), "")
    if keyword:
        return keyword
    everything = [word for words in clauses for word in words]
    soft = [word for word in everything if word in wording.SOFT_STOP_WORDS]
    if soft and all(word in soft or word in wording.SOFT_FILLERS for word in everything):
        return soft[0]
    return ""


def _certain_clause(words: list[str]) -> str:
    keyword = next((word for word in words if word in wording.STOP_WORDS), "")
    if not keyword:
        return ""
    if all(word in wording.STOP_WORDS or word in wording.STOP_FILLERS for word in words):
        return keyword
    if wording.NEGATIONS.intersection(words[: words.index(keyword)]):
        return ""
    match keyword:
        case "unsubscribe" | "optout" | "stopall":
            return keyword
        case "stop":
            return keyword if wording.STOP_FOLLOWED.search(" ".join(words)) else ""
        case "revoke":
            return keyword if wording.CONSENT_WORDS.intersection(words) else ""
    return ""


def _refusing_phrase(said: str, clauses: list[list[str]]) -> str:
    for words in clauses:
        found = wording.STOP_WORDS.intersection(words) - {"alto", "pare", "paren", "parar"}
        if found:
            return min(found)
        clause = " ".join(words)
        if wording.REFUSING_CLAUSES.fullmatch(clause):
            return clause[:80]
        soft = wording.SOFT_STOP_WORDS.intersection(words)
        if soft and all(word in soft or word in wording.SOFT_FILLERS for word in words):
            return min(soft)
        if len(words) == 1 and words[0] in wording.STOP_LOOKALIKES:
            return words[0]
    for pattern in (wording.STOP_FOLLOWED, wording.REFUSALS, wording.SPANISH_REFUSALS):
        match = pattern.search(said)
        if match:
            return match[0][:80]
    return ""


def _refusing_sign(flat: str, text: str) -> str:
    signs = (
        wording.REFUSING_SIGNS if flat else wording.REFUSING_SIGNS | wording.REFUSING_SIGNS_ALONE
    )
    return next((char for char in text if char in signs), "")


def _read_keyword(flat: str) -> Reading | None:
    if flat in answers.HELP_WORDS:
        return Reading(kind="help", keyword=flat)
    if flat in answers.OPT_IN_WORDS:
        return Reading(kind="opt_in", keyword=flat)
    if answers.WRONG_NUMBER.search(flat):
        return Reading(kind="wrong_number")
    return None


def _read_answer(flat: str, text: str, has_capture: bool) -> Reading:
    found = {word for word in flat.split() if not word.isdigit()}
    kind = _answer_kind(flat, text, found)
    if kind == "unclear" and has_capture and found <= answers.CAPTURE_FILLERS:
        kind = "positive"
    declined_call = answers.DONT_CALL.search(flat)
    review = kind == "unclear" or bool(declined_call) or bool(found & wording.AMBIGUOUS)
    wanted = kind == "wants_call" or (kind in WARM and answers.HIGH_INTENT.search(flat))
    return Reading(kind=kind, needs_review=review, high_intent=bool(wanted))


def _answer_kind(flat: str, text: str, found: set[str]) -> Kind:
    clauses = [clause.split() for clause in flat.split("|") if clause.strip()]
    willing = answers.NOT_POSITIVE.sub("|", flat)
    tests: tuple[tuple[Kind, object], ...] = (
        ("wants_call", answers.WANTS_CALL.search(answers.CALL_DECLINED.sub("|", flat))),
        ("not_interested", answers.DONT_CALL.search(flat) and not answers.BY_TEXT.search(flat)),
        ("not_interested", answers.NOT_INTERESTED.search(flat)),
        ("question", "?" in text or any(answers.QUESTION.match(" ".join(c)) for c in clauses)),
        ("positive", answers.POSITIVE_WORDS.intersection(willing.split())),
        ("positive", answers.POSITIVE.search(willing)),
        ("not_interested", any(map(_is_no, clauses))),
        ("thanks", answers.THANKS_WORDS & found),
    )
    return next((kind for kind, met in tests if met), _sign_kind(text) if not flat else "unclear")


def _is_no(clause: list[str]) -> bool:
    said = set(clause)
    return bool(said & answers.REFUSING_WORDS) and (
        said <= answers.REFUSING_WORDS | wording.COURTESIES
    )


def _sign_kind(text: str) -> Kind:
    if answers.POSITIVE_SIGNS.intersection(text):
        return "positive"
    return "not_interested" if answers.NEGATIVE_SIGNS.intersection(text) else "unclear"
