"""Handsets to hold in one's hand: a person reads and types texts as the lead, by plain forms."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.template import Context, Engine

from integrations.sandbox import control, faults
from integrations.sandbox.carrier import Text
from integrations.sandbox.faults import Fault, digits
from integrations.sandbox.wire import Refused, Request, Response, Router, see_other

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

HERE = Path(__file__).parent
ENGINE = Engine(dirs=[str(HERE / "templates")], autoescape=True)
STATIC = {
    "sandbox.css": "text/css; charset=utf-8",
    "sandbox.js": "text/javascript; charset=utf-8",
    "phone.svg": "image/svg+xml",
}
LIST_LENGTH = 80
#: Offered in the composer when the handset has no thread yet.
OUR_NUMBERS_SHOWN = 40

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

SCRIPT_LABELS = {
    "yes": "Says yes",
    "question": "Asks questions",
    "details": "Gives e-mail and mobile",
    "call_me": "Wants a call",
    "stop": "Answers STOP",
    "wrong_number": "Wrong number",
    "busy": "Who is this?",
    "silence": "Never answers",
    "unreachable": "Unreachable",
}


def html(template: str, status: int = 200, **data: Any) -> Response:
    """Render one of the sandbox's own templates."""
    body = ENGINE.get_template(template).render(Context(data))
    return Response(
        status=status, body=body.encode(), content_type="text/html; charset=utf-8", headers=HEADERS
    )


def pretty(number: str) -> str:
    """``12025550142`` as ``(202) 555-0142``; anything but a US number with its plus."""
    if len(number) == 11 and number.startswith("1"):
        return f"({number[1:4]}) {number[4:7]}-{number[7:]}"
    return f"+{number}"


def clock(at: str) -> str:
    """Time of day of a vendor timestamp, in the sandbox's own zone."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M")
    except ValueError:
        return ""


def bubble(text: Text) -> dict[str, Any]:
    """A text as the phone shows it."""
    received = text.direction == "OUTBOUND"
    return {
        "received": received,
        "body": text.body,
        "at": text.created_at,
        "clock": clock(text.created_at),
        "with": pretty(text.sender if received else text.recipient),
        "scripted": text.is_scripted,
    }


def rows(sandbox: Sandbox, wanted: str, selected: str) -> list[dict[str, Any]]:
    """Handsets, the last active first; `wanted` filters by name or digits."""
    state = sandbox.carrier.state
    found: list[dict[str, Any]] = []
    for number in set(state.handsets) | set(state.people):
        name = state.people.get(number, {}).get("name", "")
        if wanted and wanted.lower() not in name.lower() and wanted not in number:
            continue
        thread = sandbox.carrier.thread(number)
        last = thread[-1] if thread else None
        found.append(
            {
                "number": number,
                "pretty": pretty(number),
                "name": name,
                "script": SCRIPT_LABELS.get(control.summary(sandbox, number)["script"], ""),
                "last": last.body if last else "",
                "at": last.created_at if last else "",
                "clock": clock(last.created_at) if last else "",
                "is_ours": bool(last and last.direction == "INBOUND"),
                "is_selected": number == selected,
            }
        )
    found.sort(key=lambda row: (row["name"], row["number"]))
    found.sort(key=lambda row: row["at"], reverse=True)
    return found[:LIST_LENGTH]


def phone(sandbox: Sandbox, number: str) -> dict[str, Any]:
    """The selected handset: who, which texts, whom it can text."""
    summary = control.summary(sandbox, number)
    thread = [bubble(text) for text in sandbox.carrier.thread(number)]
    known = [text["with"] for text in reversed(thread)]
    every = [pretty(ours) for ours in sorted(sandbox.carrier.state.numbers)]
    return {
        "number": number,
        "pretty": pretty(number),
        "name": summary["name"],
        "script": SCRIPT_LABELS.get(summary["script"], ""),
        "initials": "".join(word[0] for word in summary["name"].split()[:2]).upper() or "?",
        "bubbles": list(reversed(thread)),
        "choices": list(dict.fromkeys(known + every))[:OUR_NUMBERS_SHOWN],
    }


def page(sandbox: Sandbox, request: Request, number: str, error: str = "") -> Response:
    """The whole page with one handset open, or none."""
    wanted = request.query.get("q", "").strip()
    return html(
        "sandbox.html",
        status=400 if error else 200,
        rows=rows(sandbox, wanted, number),
        phone=phone(sandbox, number) if number else None,
        q=wanted,
        query=f"?{urlencode({'q': wanted})}" if wanted else "",
        error=error,
        rules=[rule.public() for rule in sandbox.faults.rules if not rule.is_spent],
        kinds=sorted(faults.KINDS),
        answers=sandbox.network.answers,
    )


@router.route("GET", "/")
async def index(sandbox: Sandbox, request: Request) -> Response:
    """The list, with the handset open that was active last."""
    found = rows(sandbox, request.query.get("q", "").strip(), "")
    # A narrow screen shows one pane: `list` asks for the other one.
    only_list = not found or "list" in request.query
    return page(sandbox, request, "" if only_list else found[0]["number"])


@router.route("GET", "/handsets/<number>")
async def show(sandbox: Sandbox, request: Request, number: str) -> Response:
    """One handset."""
    return page(sandbox, request, digits(number))


@router.route("GET", "/handsets/<number>/thread")
async def thread(sandbox: Sandbox, request: Request, number: str) -> Response:
    """The bubbles alone, for the script that keeps the page fresh."""
    return html("_thread.html", phone=phone(sandbox, digits(number)))


@router.route("GET", "/handsets/<number>/list")
async def listing(sandbox: Sandbox, request: Request, number: str) -> Response:
    """The list alone, with `number` marked."""
    wanted = request.query.get("q", "").strip()
    found = rows(sandbox, wanted, digits(number))
    query = f"?{urlencode({'q': wanted})}" if wanted else ""
    return html("_list.html", rows=found, query=query)


@router.route("POST", "/handsets/<number>/send")
async def send(sandbox: Sandbox, request: Request, number: str) -> Response:
    """Text as the person who holds the handset."""
    form = request.form()
    words = form.get("text", "").strip()
    if not words:
        return see_other(f"/handsets/{digits(number)}")
    try:
        sandbox.network.inbound(number, form.get("to", ""), words)
    except Refused as refusal:
        return page(sandbox, request, digits(number), error=refusal.message)
    return see_other(f"/handsets/{digits(number)}")


@router.route("POST", "/open")
async def open_handset(sandbox: Sandbox, request: Request) -> Response:
    """Take up a handset that nobody has texted yet."""
    number = digits(request.form().get("number", ""))
    return see_other(f"/handsets/{number}" if number else "/")


@router.route("POST", "/faults")
async def add_fault(sandbox: Sandbox, request: Request) -> Response:
    """Add a rule by hand, or clear them all."""
    form = request.form()
    if form.get("clear"):
        sandbox.faults.clear()
    elif form.get("kind") in faults.KINDS:
        count = form.get("count", "1")
        sandbox.faults.add(Fault(kind=form["kind"], count=int(count) if count.isdigit() else 1))
    return see_other("/")


@router.route("GET", "/static/<name>")
async def static(sandbox: Sandbox, request: Request, name: str) -> Response:
    """The page's own style sheet, script and icon."""
    if name not in STATIC:
        raise Refused(404, "Not found")
    body = (HERE / "static" / name).read_bytes()
    return Response(body=body, content_type=STATIC[name], headers=HEADERS)
