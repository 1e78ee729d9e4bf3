"""The texts people really send, and what each must be read as."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leads.reading import read_refusal, read_text

TEXTS = Path(__file__).parent.parent / "fixtures" / "texts"

#: No other reading will do.
OPT_OUTS = [
    "STOP",
    "stop",
    "Stop.",
    "Stop!!!",
    " stop ",
    "\nSTOP\n",
    '"STOP"',
    "(stop)",
    "STOP\U0001f6d1",
    "stop stop stop",
    "STOP. STOP. STOP",
    "stopstopstop",
    "S T O P",
    "s.t.o.p.",
    "S-T-O-P",
    "S\nT\nO\nP",
    "stoppp",
    "stooooop",
    "STOPP",
    "st0p",
    "5top",
    "stp",
    "sotp",
    "S\u200bT\u200bO\u200bP",
    "ST\u00adOP",
    "\ufeffSTOP",
    "\u202eSTOP\u202c",
    "\uff33\uff34\uff2f\uff30",
    "\U0001d412\U0001d413\U0001d40e\U0001d40f",
    "\U0001f142\U0001f143\U0001f13e\U0001f13f",
    "ST\u041eP",
    "\u0405\u0422\u041e\u0420",
    "st\u00f3p",
    "\u0441\u0442\u043e\u043f",
    "*STOP*",
    "STOP ALL",
    "STOPALL",
    "stop-all",
    "UNSUBSCRIBE",
    "Unsubscribe.",
    "unsubscribe me",
    "unsub",
    "please unsubscribe",
    "pls unsubscribe me from this",
    "I would like to unsubscribe",
    "how do I unsubscribe?",
    "unsubcribe",
    "unsuscribe me",
    "UNSUBSRIBE",
    "opt out",
    "OPT-OUT",
    "optout",
    "Opt me out",
    "I want to opt out",
    "opting out",
    "REVOKE",
    "I revoke my consent",
    "END",
    "End.",
    "CANCEL",
    "cancel!",
    "cancel please",
    "Quit",
    "quit.",
    "REMOVE",
    "Remove me",
    "please remove me",
    "remove me please.",
    "ALTO",
    "alto por favor",
    "BASTA",
    "basta ya",
    "PARAR",
    "CANCELAR",
    "NO M\u00c1S",
    "no mas",
    "no mas por favor",
    "arr\u00eat",
    "Damn it, STOP texting me",
    "damn it, stop",
    "please STOP texting me",
    "Please stop",
    "stop please",
    "pls stop txting",
    "plz stop",
    "stop it",
    "stop now",
    "ok stop",
    "no. stop.",
    "STOP NOW PLEASE",
    "i said stop",
    "I said STOP!!",
    "can you please stop",
    "I want you to stop",
    "stop texting",
    "Stop texting me!",
    "stop txting me",
    "stop messaging me",
    "stop contacting me",
    "stop calling me",
    "stop sending me these",
    "Stop sending texts",
    "stop the texts",
    "stop these messages",
    "stop all messages",
    "stop all texts please",
    "stop bothering me",
    "stop harassing me",
    "stop spamming me",
    "Stop emailing me",
    "Stop. I'm not interested",
    "Not interested. Stop.",
    "not interested, please stop texting",
    "I don't know you, stop texting me",
    "Wrong number, stop texting me",
    "fuck off and stop texting me",
    "stop fucking texting me",
    "stop with the texts",
    "STOP texting my wife",
    "Yes STOP",
    "stop2end",
    "Liked your place but stop texting me",
    "stop, thanks",
    "Stop\U0001f621\U0001f621",
    "STOP, jane@example.com",
    "how do I stop these texts?",
    "optput",
    "I already told you to stop",
]

#: Refusals no keyword settles, or keywords that may mean something else.
HOLDS = [
    "stop by tomorrow?",
    "Stop by the house on Sunday",
    "can you stop by tomorrow",
    "take me off your list",
    "Take me off this list please",
    "take me of ur list",
    "please take my number off your list",
    "take my name off the list",
    "get me off this list",
    "who gave you my number, quit it",
    "quit it",
    "quit texting me",
    "quit bothering me",
    "do not text",
    "Do not text me",
    "don't text me",
    "Don\u2019t text me again",
    "dont text me",
    "dnt text me",
    "DONT TEXT",
    "don't ever text me again",
    "please do not text this number",
    "hi don't text me",
    "don't contact me again",
    "do not contact me",
    "do not contact",
    "never contact me again",
    "Never text me again",
    "don't message me",
    "dont msg me",
    "do not reply",
    "don't call or text me",
    "don't call/text me anymore",
    "don't call me again",
    "don't call me anymore",
    "Do not call",
    "do not call list",
    "never call me",
    "don't send me any more messages",
    "Do not send me anything else, no texts",
    "don't bother me",
    "please don't bother",
    "I don't want these texts",
    "I do not want to receive messages",
    "i dont want to be contacted",
    "I don't want to hear from you",
    "didn't ask for these texts",
    "no more texts",
    "No more messages please",
    "no more",
    "no more please",
    "no texts",
    "no texts please",
    "no further contact please",
    "lose my number",
    "Loose my number",
    "lose this number",
    "lose my #",
    "forget my number",
    "delete my number",
    "delete me",
    "please delete my info",
    "erase my number",
    "remove my number",
    "remove me from your list",
    "Please remove this number from your database",
    "remove my name from your contact list",
    "I want to be removed",
    "can I be taken off your list",
    "i asked to be removed",
    "leave me alone",
    "Leave us alone!",
    "please leave me be",
    "go away",
    "GO AWAY!!!",
    "get lost",
    "fuck off",
    "F off",
    "f*** off",
    "f**k off",
    "fck off",
    "eff off",
    "piss off",
    "fuck you",
    "FU",
    "screw you",
    "go to hell",
    "buzz off",
    "back off",
    "shut up",
    "gtfo",
    "enough",
    "enough already",
    "that's enough",
    "enough with the texts",
    "I told you not to text me",
    "I've asked you to stop",
    "I asked you not to contact me",
    "i said no",
    "no means no",
    "this is harassment",
    "you are harassing me",
    "this is spam",
    "spam",
    "no spam",
    "reported as spam",
    "I'm reporting you",
    "I will report this number",
    "reporting you to the FCC",
    "blocked",
    "blocking you",
    "You're blocked",
    "I'm going to block this number",
    "cease and desist",
    "I'm on the do not call registry",
    "I'll sue you",
    "TCPA",
    "no soliciting",
    "unsolicited",
    "I never signed up for this",
    "I did not consent to this",
    "I withdraw my consent",
    "didn't subscribe to this",
    "not interested, do not text again",
    "wrong number, take me off your list",
    "end this conversation",
    "end these texts",
    "cancel these texts",
    "cancel my subscription",
    "cancel this",
    "discontinue",
    "sick of you people",
    "knock it off",
    "I quit",
    "don't stop",
    "why won't you stop texting me",
    "I can't stop texting",
    "I'll stop calling",
    "Reply STOP to opt out",
    "I don't want to unsubscribe",
    "sto",
    "\U0001f6d1",
    "\U0001f595",
    "\U0001f6ab",
    "no me escriban m\u00e1s",
    "no me mande mensajes",
    "no me molesten",
    "no me contacten",
    "no quiero recibir mensajes",
    "dejen de enviarme mensajes",
    "deje de escribirme por favor",
    "qu\u00edteme de la lista",
    "b\u00f3rrame",
    "d\u00e9jame en paz",
    "elim\u00edneme",
    "para ya",
    "I'd rather you not text me",
    "I'd prefer not to be contacted",
    "please don't keep texting me",
    "do not use this number",
    "off your list",
    "I want off your list",
    "get off my phone",
    "told you no already",
    "Not interested. Remove",
    "donttext",
    "stay away from me",
    "You do not text me again",
    "without my consent",
]

#: text, the readings that will do
INNOCENT = [
    ("Send it over", "positive"),
    ("send it", "positive"),
    ("Send it over, this weekend works", "positive"),
    ("Can we meet this weekend?", "question positive"),
    ("What time? weekend works", "question positive"),
    ("weekend", "unclear"),
    ("this weekend is fine", "positive"),
    ("Stopped by your office", "unclear"),
    ("my friend said ok", "positive unclear"),
    ("I recommend you call", "wants_call"),
    ("at the end of the month works, yes", "positive"),
    ("end of the month", "unclear"),
    ("the end of this week is best", "positive unclear"),
    ("cancel my other meeting, call me", "wants_call"),
    ("Now is good, I know the owner", "positive"),
    ("hello, can you assist?", "question"),
    ("no problem, call me", "wants_call"),
    ("don't call me", "not_interested"),
    ("please do not call me", "not_interested"),
    ("I know someone, jane@co.com", "unclear positive"),
    ("Yes", "positive"),
    ("YES", "positive"),
    ("yes please", "positive"),
    ("Yesss", "positive"),
    ("Yes, tell me more", "positive"),
    ("tell me more", "positive"),
    ("ok sounds good", "positive"),
    ("Ok", "positive"),
    ("sure", "positive"),
    ("Sure, use Jane.Doe@Example.com and my cell 202-555-0166", "positive"),
    ("more info please", "positive"),
    ("info please", "positive"),
    ("I'm interested", "positive"),
    ("interested", "positive"),
    ("S\u00ed", "positive"),
    ("\U0001f44d", "positive"),
    ("\U0001f44d\U0001f3fd", "positive"),
    ("Yes, still interested. Call me tomorrow", "wants_call"),
    ("call me", "wants_call"),
    ("Call me back", "wants_call"),
    ("give me a call", "wants_call"),
    ("please call", "wants_call"),
    ("can you call me at 5?", "wants_call"),
    ("could you call tomorrow", "wants_call"),
    ("ring me", "wants_call"),
    ("call after 5", "wants_call"),
    ("don't hesitate to call me", "wants_call"),
    ("don't forget to call me", "wants_call"),
    ("why don't you call me", "wants_call"),
    ("no need to text, call me", "wants_call"),
    ("I don't text, call me", "wants_call"),
    ("lets talk on the phone", "wants_call"),
    ("what is this about?", "question"),
    ("Is this still available?", "question"),
    ("who is this", "question"),
    ("Who gave you my number?", "question"),
    ("how did you get my number", "question"),
    ("is this spam?", "question"),
    ("how much", "question"),
    ("What's your offer?", "question"),
    ("when can you come by?", "question"),
    ("why don't you text me tomorrow?", "question"),
    ("Wrong number", "wrong_number"),
    ("wrong person", "wrong_number"),
    ("You have the wrong number", "wrong_number"),
    ("not me", "wrong_number"),
    ("that's not me", "wrong_number"),
    ("no one by that name here", "wrong_number"),
    ("n\u00famero equivocado", "wrong_number"),
    ("not interested", "not_interested"),
    ("Not interested.", "not_interested"),
    ("I'm not interested, thank you", "not_interested"),
    ("no thanks", "not_interested"),
    ("No thank you", "not_interested"),
    ("no", "not_interested"),
    ("No!", "not_interested"),
    ("nope", "not_interested"),
    ("nah", "not_interested"),
    ("not for sale", "not_interested"),
    ("not right now", "not_interested"),
    ("I don't want to sell", "not_interested"),
    ("hell no", "not_interested"),
    ("no me interesa", "not_interested"),
    ("\U0001f44e", "not_interested"),
    ("thanks", "thanks"),
    ("Thank you!", "thanks"),
    ("thx", "thanks"),
    ("HELP", "help"),
    ("help!", "help"),
    ("Info", "help"),
    ("START", "opt_in"),
    ("unstop", "opt_in"),
    ("start.", "opt_in"),
    ("help me understand", "unclear"),
    ("start over", "unclear"),
    ("lets start tomorrow", "unclear positive"),
    ("attending a friend's wedding", "unclear"),
    ("I spend weekends there", "unclear"),
    ("I'm off on Tuesday", "unclear"),
    ("take me to the house", "unclear"),
    ("I can remove the old tenant", "unclear"),
    ("had the old carpet removed", "unclear"),
    ("I quit my job last year", "unclear"),
    ("meet at the bus stop", "unclear"),
    ("driving non-stop today", "unclear"),
    ("stopping by tomorrow", "unclear"),
    ("nonstop flight", "unclear"),
    ("I need to talk to my attorney first", "unclear"),
    ("going to the spa", "unclear"),
    ("the driveway is blocked off", "unclear"),
    ("not enough money", "unclear"),
    ("big enough for us", "unclear"),
    ("I report to work at 9", "unclear"),
    ("pick up where we left off", "unclear"),
    ("I never text", "unclear"),
    ("my lender canceled", "unclear"),
    ("please cancel my appointment", "unclear"),
    ("I forget the number", "unclear"),
    ("text me later", "positive"),
    ("feel free to text me", "positive"),
    ("don't worry, text me later", "positive"),
    ("did not text me back", "unclear question"),
    ("see stop@example.com", "unclear"),
    ("https://example.com/unsubscribe", "unclear"),
    ("Loved \u201cHi Jane! Reply STOP to opt out\u201d", "positive"),
    ('Liked "Hi Jane, quick question. Reply STOP to opt out."', "positive"),
    ("Laughed at \u201cReply STOP to end\u201d", "unclear"),
    ("\U0001f44d to \u201cReply STOP to opt out\u201d", "unclear"),
    ("Disliked \u201cReply STOP to opt out\u201d", "not_interested"),
    ("", "unclear"),
    ("?", "question"),
    ("asdf", "unclear"),
    ("\u4f60\u597d", "unclear"),
]


@pytest.mark.parametrize("text", OPT_OUTS)
def test_a_certain_refusal_opts_out(text):
    assert read_text(text).kind == "opt_out"


@pytest.mark.parametrize("text", HOLDS)
def test_what_looks_like_a_refusal_is_held_for_a_person(text):
    reading = read_text(text)

    assert reading.kind == "hold"
    assert reading.needs_review
    assert reading.keyword
    assert not reading.high_intent


@pytest.mark.parametrize(("text", "kinds"), INNOCENT)
def test_an_innocent_text_is_neither_opted_out_nor_held(text, kinds):
    assert read_text(text).kind in kinds.split()


@pytest.mark.parametrize("text", (TEXTS / "refusals.txt").read_text().splitlines())
def test_a_refusal_in_any_wording_ends_in_opt_out_or_hold(text):
    assert read_text(text).kind in ("opt_out", "hold")


@pytest.mark.parametrize("text", (TEXTS / "innocent.txt").read_text().splitlines())
def test_everyday_texts_end_in_neither(text):
    assert read_text(text).kind not in ("opt_out", "hold")


@pytest.mark.parametrize(
    "text",
    [
        "Stopped by your office",
        "cancel my other meeting, call me",
        "don't call me",
        "meet at the bus stop",
        "weekend",
        "Liked \u201cReply STOP to opt out\u201d",
        "asdf",
    ],
)
def test_what_we_are_not_sure_of_goes_to_a_person(text):
    assert read_text(text).needs_review


@pytest.mark.parametrize("text", ["Yes", "STOP", "HELP", "START", "no thanks", "call me", "thanks"])
def test_what_is_plain_needs_no_person(text):
    assert not read_text(text).needs_review


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call me", True),
        ("What's your offer?", True),
        ("very interested", True),
        ("I'm in", True),
        ("Yes", False),
        ("who is this?", False),
        ("not interested", False),
        ("STOP calling me, I was ready to sell", False),
    ],
)
def test_high_intent_is_a_call_a_booking_or_an_offer(text, expected):
    assert read_text(text).high_intent is expected


def test_an_opt_out_names_the_word_that_settled_it():
    assert read_text("Damn it, STOP texting me").keyword == "stop"
    assert read_text("Opt-Out").keyword == "optout"
    assert read_text("take me off your list").keyword == "take me off"
    assert read_text("HELP").keyword == "help"


@pytest.mark.parametrize(
    ("text", "email", "raw"),
    [
        ("jane@example.com", "jane@example.com", "jane@example.com"),
        ("Use Jane.Doe@Example.com please", "jane.doe@example.com", "Jane.Doe@Example.com"),
        ("it's jane+tag@example.co.uk.", "jane+tag@example.co.uk", "jane+tag@example.co.uk"),
        ("(jane@example.com)", "jane@example.com", "jane@example.com"),
        ("mailto:jane@example.com", "jane@example.com", "jane@example.com"),
        ("'jane@example.com'", "jane@example.com", "jane@example.com"),
        ("o'neil@example.com", "o'neil@example.com", "o'neil@example.com"),
        ("jane@m\u00fcnchen.de", "jane@xn--mnchen-3ya.de", "jane@m\u00fcnchen.de"),
        ("\uff4aane\uff20example.com", "jane@example.com", "jane@example.com"),
        ("a@b, then jane@example.com", "jane@example.com", "jane@example.com"),
        ("jane..doe@example.com or bob@example.com", "bob@example.com", "bob@example.com"),
        ("I know someone, jane@co.com", "jane@co.com", "jane@co.com"),
        ("a@b@example.com", "", ""),
        ("jane@example", "", ""),
        ("jane@-example.com", "", ""),
        ("@example.com", "", ""),
        ("\u00e9jane@example.com", "", ""),
        ("jane@" + "a" * 64 + ".com", "", ""),
        ("a" * 65 + "@example.com", "", ""),
        ("jane at example.com", "", ""),
    ],
)
def test_the_first_valid_e_mail_is_captured(text, email, raw):
    reading = read_text(text)

    assert (reading.email, reading.email_raw) == (email, raw)


@pytest.mark.parametrize(
    ("text", "mobile"),
    [
        ("202-555-0166", "+12025550166"),
        ("my cell 202-555-0166", "+12025550166"),
        ("(202) 555-0166", "+12025550166"),
        ("(202)555-0166", "+12025550166"),
        ("202.555.0166.", "+12025550166"),
        ("202 555 0166", "+12025550166"),
        ("2025550166", "+12025550166"),
        ("+1 202 555 0166", "+12025550166"),
        ("+12025550166", "+12025550166"),
        ("1-202-555-0166", "+12025550166"),
        ("12025550166", "+12025550166"),
        ("cell:2025550166!", "+12025550166"),
        ("\uff12\uff10\uff125550166", "+12025550166"),
        ("call 202-555-0166 5pm", "+12025550166"),
        ("202-555-0143 or 202-555-0166", "+12025550166"),
        ("order 1234567890123456", ""),
        ("2025550166123", ""),
        ("992025550166", ""),
        ("1234-202-555-0166", ""),
        ("202-555-0166-99", ""),
        ("12 202 555 0166 44", ""),
        ("+44 202 555 0166", ""),
        ("4111 1111 1111 1111", ""),
        ("id2025550166", ""),
        ("2025550166x", ""),
        ("$2025550166", ""),
        ("2025550166@example.com", ""),
        ("https://example.com/2025550166", ""),
        ("102-555-0166", ""),
        ("202-155-0166", ""),
        ("800-555-0166", ""),
        ("911-555-0166", ""),
        ("202-555-016", ""),
        ("2025550143", ""),
        ("+1 (202) 555-0143", ""),
    ],
)
def test_a_delimited_mobile_other_than_the_senders_is_captured(text, mobile):
    assert read_text(text, sender="+12025550143").mobile == mobile


def test_captures_come_with_any_reading():
    reading = read_text("STOP. my lawyer is jane@example.com, 202-555-0166")

    assert reading.kind == "opt_out"
    assert (reading.email, reading.mobile) == ("jane@example.com", "+12025550166")
    assert reading.mobile_raw == "202-555-0166"


@pytest.mark.parametrize(
    "unit",
    [
        "dont want ",
        "take me ",
        "stop ",
        "a@",
        "@",
        "a@b.c ",
        "s t o p ",
        "f@",
        "f*",
        "|",
        "told you a ",
        "202 555 ",
        "https://x ",
        'liked "',
        "\u200b",
        "\ufdfa",
        "remove a b ",
        "unsubscribx ",
        "\U0001f6d1",
        "a" * 1000 + " ",
    ],
)
def test_reading_a_huge_text_takes_no_time(unit):
    text = (unit * (100_000 // len(unit) + 1))[:100_000]

    started = time.process_time()
    reading = read_text(text)

    assert time.process_time() - started < 2
    assert reading.needs_review or reading.kind == "opt_out"


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_text_at_all_can_be_read(text):
    reading = read_text(text, sender=text)

    assert reading.kind
    assert "\0" not in reading.email + reading.email_raw + reading.mobile_raw


@given(
    st.sampled_from(["STOP", "stop", "Unsubscribe", "opt out", "QUIT", "alto"]),
    st.text("\u200b\u200d\ufeff\u00ad .,!?\n\t'\"()-\u2019\U0001f600", max_size=8),
    st.text("\u200b\u200d\ufeff\u00ad .,!?\n\t'\"()-\u2019\U0001f600", max_size=8),
)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_nothing_around_a_keyword_hides_it(keyword, before, after):
    assert read_text(before + keyword + after).kind == "opt_out"


def agrees(text: str) -> bool:
    reading, early = read_text(text), read_refusal(text)
    if reading.kind not in ("opt_out", "hold"):
        return early is None
    return early is not None and (early.kind, early.keyword) == (reading.kind, reading.keyword)


@pytest.mark.parametrize(
    "text",
    [
        *OPT_OUTS,
        *(TEXTS / "refusals.txt").read_text().splitlines(),
        *(TEXTS / "innocent.txt").read_text().splitlines(),
        'Liked "stop"',
        "stop@example.com",
        "a" * 30 + " stop",
    ],
)
def test_intake_sees_the_refusals_that_processing_sees(text):
    assert agrees(text)


@given(st.text(max_size=200), st.sampled_from(["", "stop", "unsub", "wrong number", "a@b.co"]))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_intake_and_processing_agree_on_any_text(text, word):
    assert agrees(text + word)
    assert agrees(word + text)
