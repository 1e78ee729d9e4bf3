"""What happened to the demo's leads, as data: texts, moves, and where each story stands."""

from __future__ import annotations

from dataclasses import dataclass

#: What the tenants' side writes, by key. Fields: first, street, worker, company, agent.
WORDS: dict[str, dict[str, str]] = {
    "homes": {
        "opener": "Hi {first}, this is {worker} with {company}. Are you still the owner of the "
        "house on {street}? We have a buyer looking there. Reply STOP to opt out.",
        "retarget": "Hi {first}, {worker} again. Would a cash offer for {street} be worth a look "
        "this month?",
        "nudge": "{first}, last note from me about {street}: should I close your file, or is "
        "there a better time?",
        "answer": "Thanks for getting back, {first}. We buy as-is and pay the closing costs. When "
        "could we take a quick look at {street}?",
        "explain": "Of course: I work for {company}, your name is on the county's record for "
        "{street}. We pay cash and close in about three weeks.",
        "details_sent": "Great, the details are on their way to your inbox. Anything you want to "
        "know before that?",
        "book": "We have Tuesday 10 am or Thursday 4 pm for a walk-through. Which suits you?",
        "booked": "You are down for Tuesday 10 am. {agent} will call when on the way.",
        "closed": "Understood, {first}. I have made a note. All the best!",
        "confirm": "You are unsubscribed from {company} and will get no more texts.",
    },
    "lending": {
        "opener": "Hi {first}, {worker} at {company}. Rates on {street} loans have moved since you "
        "bought. Open to a two-minute check? Reply STOP to opt out.",
        "retarget": "Hi {first}, {worker} again from {company}. Shall I send what a lower payment "
        "on {street} would look like?",
        "nudge": "{first}, one last try: is refinancing {street} off the table, or just not now?",
        "answer": "Happy to, {first}. Do you remember roughly what is left on the loan for "
        "{street}? A guess is fine.",
        "explain": "I am {worker}, a loan adviser at {company}. You asked about rates on our site "
        "in spring; I can also leave you be.",
        "details_sent": "Sent! It shows three terms side by side. Shall we go through it together?",
        "book": "{agent} has Wednesday 9:30 or Friday 1 pm for a call. Which one works?",
        "booked": "Booked: Wednesday 9:30 with {agent}. You will get a reminder that morning.",
        "closed": "No problem, {first}, I will not bring it up again. Good luck!",
        "confirm": "You are unsubscribed from {company} and will get no more texts.",
    },
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """One text, *hours* ago. Ours name a key of `WORDS`; theirs offer several wordings."""

    hours: float
    key: str = ""
    theirs: tuple[str, ...] = ()
    reading: str = ""
    by_agent: bool = False

    def wording(self, turn: int) -> str:
        """Their words, another of the offered wordings each turn."""
        return self.theirs[turn % len(self.theirs)]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One event of the lead, *hours* ago; *to* is its state from then on."""

    hours: float
    kind: str
    to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Story:
    """One kind of conversation and how many leads of a tenant live it.

    *status* is the conversation's; one that is open and ends with a text of theirs waits.
    *consent* is ``opted_out`` or ``held``; *call* the reason of a call item.
    """

    name: str
    count: int
    stage: str = "initial_message"
    texts: tuple[Said, ...] = ()
    moves: tuple[Moved, ...] = ()
    timers: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    status: str = "open"
    consent: str = ""
    call: str = ""
    gives_email: bool = False
    gives_mobile: bool = False
    wrong_number: bool = False
    band: int = 1
    is_exact: bool = False  # hours are not varied from lead to lead


def _touched(hours: float) -> Moved:
    return Moved(hours=hours, kind="first_text", to="touched")


def _replied(hours: float, *, moves: bool = True) -> Moved:
    return Moved(hours=hours, kind="message_received", to="responded" if moves else None)


def _opener(hours: float) -> Said:
    return Said(hours=hours, key="opener")


def _retargeted(hours: float) -> Moved:
    return Moved(hours=hours, kind="timer_fired", to="retargeting")


QUESTIONS = (
    "Who is this?",
    "What would you pay for it?",
    "How did you find me?",
    "Is this about the front unit or the whole building?",
)
YESES = (
    "Yes, still interested",
    "Maybe. What do you need from me?",
    "Sure, tell me more",
    "Yes that's me",
)
CALLS = (
    "Can you call me after 5?",
    "Call me, easier to talk",
    "Please call, I have a few questions about this",
)
NOES = ("Not interested, thanks", "No thank you, we are staying", "Not for us, sorry")

STORIES = (
    Story(name="new", count=60),
    Story(
        name="touched",
        count=24,
        texts=(_opener(80),),
        moves=(_touched(80),),
        timers=("7D", "14D"),
    ),
    Story(
        name="touched, a week ago in minutes",
        count=2,
        is_exact=True,
        texts=(_opener(167.85),),
        moves=(_touched(167.85),),
        timers=("7D", "14D"),
    ),
    Story(
        name="retargeted, silent",
        count=8,
        stage="retarget",
        texts=(_opener(190), Said(hours=20, key="retarget")),
        moves=(_touched(190), _retargeted(22)),
        timers=("14D",),
        fired=("7D",),
    ),
    Story(
        name="nudged, silent",
        count=4,
        stage="nudger",
        texts=(_opener(370), Said(hours=200, key="retarget"), Said(hours=30, key="nudge")),
        moves=(_touched(370), _retargeted(202), Moved(hours=34, kind="timer_fired")),
        timers=("30D",),
        fired=("7D", "14D"),
    ),
    Story(
        name="waiting in Initial",
        count=6,
        texts=(_opener(28), Said(hours=1.6, theirs=QUESTIONS, reading="question")),
        moves=(_touched(28), _replied(1.6)),
    ),
    Story(
        name="waiting in Retarget",
        count=3,
        stage="retarget",
        texts=(
            _opener(200),
            Said(hours=26, key="retarget"),
            Said(hours=3.2, theirs=YESES, reading="positive"),
        ),
        moves=(_touched(200), _retargeted(32), _replied(3.2)),
        fired=("7D",),
    ),
    Story(
        name="waiting in Nudger",
        count=2,
        stage="nudger",
        texts=(
            _opener(380),
            Said(hours=30, key="nudge"),
            Said(hours=5, theirs=QUESTIONS, reading="question"),
        ),
        moves=(_touched(380), _retargeted(212), _replied(5)),
        fired=("7D", "14D"),
    ),
    Story(
        name="waiting in Nurture",
        count=2,
        stage="content_nurture",
        gives_email=True,
        call="email",
        texts=(
            _opener(400),
            Said(hours=49, theirs=("You can e-mail me: {email}",), reading="unclear"),
            Said(hours=48, key="details_sent", by_agent=True),
            Said(hours=7, theirs=("Got it. What happens next?",), reading="question"),
        ),
        moves=(
            _touched(400),
            _retargeted(232),
            _replied(49),
            Moved(hours=49, kind="email_captured", to="email_captured"),
            _replied(7, moves=False),
        ),
        fired=("7D",),
    ),
    Story(
        name="waiting in Book",
        count=3,
        stage="book_appointment",
        call="wants_call",
        band=0,
        texts=(_opener(30), Said(hours=0.4, theirs=CALLS, reading="wants_call")),
        moves=(
            _touched(30),
            _replied(0.4),
            Moved(hours=0.4, kind="wants_call", to="high_intent"),
        ),
    ),
    Story(
        name="answered",
        count=7,
        texts=(
            _opener(60),
            Said(hours=26, theirs=YESES, reading="positive"),
            Said(hours=25.5, key="answer", by_agent=True),
        ),
        moves=(_touched(60), _replied(26)),
    ),
    Story(
        name="snoozed",
        count=4,
        status="snoozed",
        texts=(
            _opener(70),
            Said(hours=44, theirs=QUESTIONS, reading="question"),
            Said(hours=43, key="explain", by_agent=True),
            Said(hours=41, theirs=("Ask me again after the holidays",), reading="unclear"),
        ),
        moves=(_touched(70), _replied(44), _replied(41, moves=False)),
    ),
    Story(
        name="gave an e-mail",
        count=4,
        stage="content_nurture",
        gives_email=True,
        call="email",
        texts=(
            _opener(120),
            Said(hours=75, theirs=("Send it to {email}",), reading="positive"),
            Said(hours=74, key="details_sent", by_agent=True),
        ),
        moves=(
            _touched(120),
            _replied(75),
            Moved(hours=75, kind="email_captured", to="email_captured"),
        ),
    ),
    Story(
        name="GOLD",
        count=4,
        stage="book_appointment",
        gives_email=True,
        gives_mobile=True,
        call="gold",
        band=0,
        texts=(
            _opener(90),
            Said(
                hours=29,
                theirs=("Sure, use {email} and my cell {mobile}",),
                reading="positive",
            ),
            Said(hours=28, key="book", by_agent=True),
        ),
        moves=(
            _touched(90),
            _replied(29),
            Moved(hours=29, kind="email_captured", to="email_captured"),
            Moved(hours=29, kind="gold"),
        ),
    ),
    Story(
        name="booked",
        count=3,
        stage="book_appointment",
        band=0,
        status="done",
        texts=(
            _opener(150),
            Said(hours=100, theirs=CALLS, reading="wants_call"),
            Said(hours=99, key="book", by_agent=True),
            Said(hours=97, theirs=("The first one is good",), reading="positive"),
            Said(hours=96, key="booked", by_agent=True),
        ),
        moves=(
            _touched(150),
            _replied(100),
            Moved(hours=100, kind="wants_call", to="high_intent"),
            _replied(97, moves=False),
            Moved(hours=96, kind="moved", to="appointment_booked"),
        ),
    ),
    Story(
        name="said no",
        count=5,
        status="done",
        texts=(
            _opener(140),
            Said(hours=118, theirs=NOES, reading="not_interested"),
            Said(hours=117, key="closed", by_agent=True),
        ),
        moves=(_touched(140), _replied(118), Moved(hours=117, kind="moved", to="closed")),
    ),
    Story(
        name="opted out",
        count=5,
        status="done",
        consent="opted_out",
        texts=(
            _opener(110),
            Said(hours=52, theirs=("STOP", "Stop texting me", "Unsubscribe"), reading="opt_out"),
            Said(hours=51.99, key="confirm"),
        ),
        moves=(_touched(110), Moved(hours=52, kind="opt_out", to="suppressed")),
    ),
    Story(
        name="wrong number",
        count=2,
        status="done",
        wrong_number=True,
        texts=(
            _opener(88),
            Said(hours=64, theirs=("Wrong number",), reading="wrong_number"),
        ),
        moves=(_touched(88), _replied(64), Moved(hours=64, kind="wrong_number")),
    ),
    Story(
        name="on hold",
        count=2,
        consent="held",
        texts=(
            _opener(40),
            Said(
                hours=2.5,
                theirs=("Take me off your list?", "Who gave you my number, quit it"),
                reading="hold",
            ),
        ),
        moves=(_touched(40), _replied(2.5), Moved(hours=2.5, kind="hold")),
    ),
)
LEADS_PER_TENANT = sum(story.count for story in STORIES)
