"""A real browser on a real server: pages, streams, webhooks and the drain, as people get them.

Data is committed, and each test has a tenant of its own: nothing is flushed in between.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.browser.processes import Process, Web, free_port
from tests.browser.world import Person, World, make_world

# Playwright runs a loop in this thread; the tests still use the database from it.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

expect.set_options(timeout=10_000)

#: Errors of scripts and refusals of the security policy, wherever they happen, fail the test.
WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", (event) => console.error(
  `CSP ${event.violatedDirective} refused ${event.blockedURI} at ${event.sourceFile}:` +
  `${event.lineNumber} ${event.sample}`));
"""

Agent = Callable[..., Page]


def pytest_itemcollected(item: pytest.Item) -> None:
    # Early: -m chooses by mark before the order below is made.
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.browser)
        if os.environ.get("NO_BROWSER") == "1":
            item.add_marker(pytest.mark.skip(reason="NO_BROWSER=1"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put browser tests last: Playwright's loop runs in this thread from the first one on."""
    ours = [item for item in items if item.get_closest_marker("browser")]
    items[:] = [item for item in items if item not in ours] + ours


@pytest.fixture(scope="session")
def database(django_db_setup, django_db_blocker) -> Iterator[str]:
    """Name of the test database, open for the rest of the session's browser tests."""
    with django_db_blocker.unblock():
        # pytest-django makes one only where a test is marked to use it, and then flushes it.
        wanted = connection.creation._get_test_db_name()
        made = []
        if connection.settings_dict["NAME"] != wanted:
            made = setup_databases(0, interactive=False, aliases=["default"], serialized_aliases=[])
        yield wanted
        connections.close_all()
        if made:
            teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="session")
def server(database: str, logs: Path) -> Iterator[Web]:
    """The web server all tests share."""
    web = Web(logs / "web.log", database, free_port())
    web.start()
    yield web
    web.stop()


@pytest.fixture(scope="session")
def drain(database: str, logs: Path) -> Iterator[Process]:
    """The process that turns webhooks into messages."""
    process = Process(["manage.py", "drain"], logs / "drain.log", DB_NAME=database)
    process.start()
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def _open_database(django_db_blocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def world(server: Web, drain: Process) -> World:
    """A tenant of this test's own, with agents A and B."""
    made = make_world(server.base)
    made.person("ann")
    made.person("ben")
    return made


@pytest.fixture(scope="session")
def browser(database: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        flags = ["--disable-dev-shm-usage", "--disable-gpu"]
        try:
            running = playwright.chromium.launch(executable_path=found, args=flags)
        except Error as error:
            pytest.fail(
                "No browser: install Debian's chromium (apt-get install chromium) or run "
                f"`playwright install chromium`; NO_BROWSER=1 leaves these tests out. ({error})",
                pytrace=False,
            )
        yield running
        # Django sees Playwright's loop and keeps connections of its own for it.
        connections.close_all()
        running.close()


@pytest.fixture
def troubles() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    assert not found, "\n".join(found)


@pytest.fixture
def visit(browser: Browser, server: Web, troubles: list[str]) -> Iterator[Callable]:
    """Open a browser of its own for a person: ``visit(person, width=1440, …)``."""
    contexts: list[BrowserContext] = []

    def opened(person: Person | None = None, **options: object) -> BrowserContext:
        width, height = options.pop("width", 1440), options.pop("height", 900)
        context = browser.new_context(
            base_url=server.base,
            viewport={"width": width, "height": height},
            reduced_motion=options.pop("reduced_motion", "reduce"),
            **options,
        )
        context.add_init_script(WATCH_POLICY)
        context.on("weberror", lambda error: troubles.append(f"script error: {error.error}"))
        context.on("console", lambda line: _note(line, troubles))
        if person is not None:
            cookie = {"name": "sessionid", "value": person.cookie, "url": server.base}
            context.add_cookies([cookie])
        contexts.append(context)
        return context

    yield opened
    for context in contexts:
        context.close()


def _note(line: object, troubles: list[str]) -> None:
    if line.type == "error" and ("CSP" in line.text or "Content Security Policy" in line.text):
        troubles.append(line.text)


@pytest.fixture
def agent(visit: Callable) -> Agent:
    """Open a page as a person and wait until its live stream runs."""

    def opened(person: Person, url: str, *, live: bool = True, **options: object) -> Page:
        page = visit(person, **options).new_page()
        page.goto(url)
        if live:
            expect(page.locator("body[data-live-state=live]")).to_be_attached()
        return page

    return opened
