"""`manage.py worker`: kills it at every joint and looks whether the work gets done."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from config import schedules
from config.schedules import ensure_schedules, make_partitions, prune_live_events
from pipelines.actions import ABANDONED, record_run
from pipelines.models import PipelineRun
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID
from tenants.worker import Child, Supervisor, how_ended

TREE = 4  # sentinel, worker, monitor, pusher: below the cluster's own process


def eventually(question, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    return question()


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Running:
    """A worker on the test database, and its processes by role."""

    def __init__(self, *arguments):
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "DB_NAME": connection.settings_dict["NAME"],
        }
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", *arguments],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def pids(self):
        """Every process of the tree, or None while it is not complete."""
        try:
            cluster = psutil.Process(self.process.pid).children()
            below = [p.pid for p in cluster[0].children(recursive=True)] if cluster else []
            # multiprocessing may add its resource tracker below the cluster.
            forks = [pid for pid in below if "resource_tracker" not in command(pid)]
            sentinel = cluster[0].children()[0].pid if len(forks) == TREE else None
        except (psutil.NoSuchProcess, IndexError):
            return None
        if sentinel is None:
            return None
        worker, monitor, pusher = sorted(pid for pid in forks if pid != sentinel)
        return {
            "supervisor": self.process.pid,
            "child": cluster[0].pid,
            "sentinel": sentinel,
            "worker": worker,
            "monitor": monitor,
            "pusher": pusher,
        }

    def ready(self, seconds=20):
        pids = eventually(self.pids, seconds)
        assert pids, self.output()
        return pids

    def output(self):
        self.stop(signal.SIGKILL)
        return self.process.communicate()[0].decode()

    def stop(self, number=signal.SIGTERM, seconds=10):
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(seconds)
        return time.monotonic() - started


def command(pid):
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def run_worker():
    started = []

    def start(*arguments):
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


def words(path):
    return {line.split()[0] for line in path.read_text().splitlines()} if path.exists() else set()


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_after_a_kill_of_any_process_all_tasks_are_done_and_nothing_old_lives(run_worker, tmp_path):
    path = tmp_path / "done"
    running = run_worker("--only", "tasks")
    for victim in ("worker", "monitor", "pusher", "sentinel", "child"):
        before = running.ready()
        wanted = {f"{victim}-{n}" for n in range(6)}
        for word in sorted(wanted):
            async_task("tests.worker_tasks.note", str(path), word, 0.15)
        time.sleep(0.3)

        os.kill(before[victim], signal.SIGKILL)

        assert eventually(lambda wanted=wanted: wanted <= words(path), 20), victim
        gone = [pid for role, pid in before.items() if role != "supervisor"]
        assert eventually(lambda gone=gone: not any(map(is_alive, gone)), 3), victim
        assert eventually(lambda: not OrmQ.objects.exists(), 10), victim
    assert running.stop() < 4


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_nothing_outlives_a_killed_supervisor(run_worker):
    running = run_worker("--only", "tasks")
    pids = running.ready()

    running.stop(signal.SIGKILL)

    assert eventually(lambda: not any(map(is_alive, pids.values())), 3)


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_with_a_task_in_hand_stops_within_seconds(run_worker, tmp_path, number):
    running = run_worker("--only", "tasks")
    pids = running.ready()
    async_task("tests.worker_tasks.note", str(tmp_path / "done"), "slow", 30)
    time.sleep(1)

    assert running.stop(number) < 4.5
    assert running.process.returncode == 0
    assert eventually(lambda: not any(map(is_alive, pids.values())), 2)


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_a_killed_drain_is_started_again_beside_the_others(run_worker):
    running = run_worker("--only", "drain", "--drains", "2")

    def drains():
        children = psutil.Process(running.process.pid).children()
        return {child.pid for child in children if "drain" in command(child.pid)}

    before = eventually(lambda: len(drains()) == 2 and drains(), 20)
    victim, other = sorted(before)
    os.kill(victim, signal.SIGKILL)

    after = eventually(lambda: len(drains() - {victim}) == 2 and drains(), 20)
    assert after, running.output()
    assert other in after
    time.sleep(2)  # past its imports: it takes signals
    assert drains() == after
    assert running.stop() < 4


def test_a_child_that_ends_is_started_again_with_growing_pauses():
    deaths = []
    child = Child(name="short", command=[sys.executable, "-c", "raise SystemExit(7)"])
    supervisor = Supervisor([child], on_death=lambda *death: deaths.append(death))

    supervisor.watch(until=lambda: len(deaths) == 3)
    supervisor.stop()

    assert [code for _, code, _ in deaths] == [7, 7, 7]
    assert [round(pause, 1) for _, _, pause in deaths] == [0.1, 0.2, 0.4]


def test_a_child_that_ignores_sigterm_is_killed_with_all_it_started():
    script = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '60']); time.sleep(60)"
    )
    child = Child(name="stubborn", command=[sys.executable, "-c", script])
    child.start()
    grandchild = eventually(lambda: psutil.Process(child.process.pid).children(), 5)[0]
    pid = child.process.pid

    Supervisor([child], stop_seconds=0.3).stop()

    assert not is_alive(pid)
    assert eventually(lambda: not is_alive(grandchild.pid), 2)


def test_the_end_of_a_process_is_told_in_words():
    assert how_ended(0) == "exit code 0"
    assert how_ended(-9) == "SIGKILL"
    assert how_ended(-200) == "signal 200"


@pytest.mark.django_db(transaction=True)
def test_schedules_are_made_once_kept_and_taken_out(monkeypatch):
    ensure_schedules()
    first = dict(Schedule.objects.values_list("name", "next_run"))
    Schedule.objects.filter(name="fairlead: prune live events").update(func="wrong")
    Schedule.objects.create(name="fairlead: gone", func="x")
    Schedule.objects.create(name="somebody else's", func="x")

    ensure_schedules()

    rows = dict(Schedule.objects.values_list("name", "func"))
    assert set(rows) == {*schedules.SCHEDULES, "somebody else's"}
    assert rows["fairlead: prune live events"] == "config.schedules.prune_live_events"
    kept = dict(Schedule.objects.values_list("name", "next_run"))
    assert all(kept[name] == moment for name, moment in first.items())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [make_partitions, prune_live_events])
def test_a_scheduled_task_keeps_a_run_on_the_platform_tenant(task):
    task()

    with tenant_context(PLATFORM_TENANT_ID):
        run = PipelineRun.objects.get(pipeline_name=task.__name__)
        assert (run.status, run.error, run.trigger_type) == ("completed", "", "schedule")
        assert run.finished_at >= run.started_at
        assert run.correlation_id


@pytest.mark.django_db(transaction=True)
def test_partitions_are_made_months_ahead():
    make_partitions()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'webhook_events'::regclass"
        )
        assert cursor.fetchone()[0] >= schedules.MONTHS_AHEAD + 2


@pytest.mark.django_db(transaction=True)
def test_a_failing_run_says_why_and_an_abandoned_one_is_closed():
    def breaks():
        raise ZeroDivisionError("no")

    with tenant_context(PLATFORM_TENANT_ID):
        PipelineRun.objects.create(pipeline_name="p")

    with pytest.raises(ZeroDivisionError):
        record_run(PLATFORM_TENANT_ID, "p", breaks)

    with tenant_context(PLATFORM_TENANT_ID):
        errors = list(PipelineRun.objects.filter(pipeline_name="p").values_list("status", "error"))
        assert sorted(errors) == [("failed", ABANDONED), ("failed", "ZeroDivisionError: no")]
