"""The viewer's thread: jobs in order, the newest picture, and no end by an exception."""

import threading
import time

import pytest

from featurefields.viewer.log import Act, Log
from featurefields.viewer.worker import Worker


@pytest.fixture
def failures() -> list:
    return []


@pytest.fixture
def worker(failures: list):
    made: Worker = Worker(failures.append)
    yield made
    made.stop()


def busy(worker: Worker) -> threading.Event:
    """Keep the worker busy until the event is set."""
    started, gate = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        gate.wait(10)

    worker.do(hold)
    assert started.wait(10)
    return gate


def test_jobs_are_done_in_their_order_before_pictures(worker: Worker):
    done: list = []
    gate = busy(worker)
    worker.wish("a", lambda: "picture", done.append)
    for number in range(5):
        worker.do(lambda number=number: done.append(number))
    gate.set()
    assert worker.settle(10.0) and done == [0, 1, 2, 3, 4, "picture"]


def test_of_one_browsers_wishes_only_the_newest_is_drawn(worker: Worker):
    drawn, shown = [], []
    gate = busy(worker)
    for number in range(20):
        worker.wish("a", lambda number=number: drawn.append(number) or number, shown.append)
        worker.wish("b", lambda number=number: -number, lambda picture: None)
    gate.set()
    assert worker.settle(10.0) and drawn == shown == [19] and worker.delivered == 2


def test_a_picture_that_is_overtaken_while_it_is_drawn_is_thrown_away(worker: Worker):
    shown: list = []
    started, gate = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        gate.wait(10)
        return "old"

    worker.wish("a", slow, shown.append)
    assert started.wait(10)
    worker.wish("a", lambda: "new", shown.append)
    gate.set()
    assert worker.settle(10.0) and shown == ["new"] and worker.dropped == 1


def test_pictures_of_a_movement_are_shown_although_the_next_is_wanted(worker: Worker):
    shown: list = []
    started, gate = threading.Event(), threading.Event()
    worker.wish("a", lambda: (started.set(), gate.wait(10), "first")[-1], shown.append, fleeting=True)
    assert started.wait(10)
    worker.wish("a", lambda: "second", shown.append, fleeting=True)
    gate.set()
    assert worker.settle(10.0) and shown == ["first", "second"]


def test_a_wish_waits_and_a_closed_browser_gets_nothing(worker: Worker):
    shown: list = []
    asked = time.monotonic()
    worker.wish("a", lambda: time.monotonic(), shown.append, wait_s=0.15)
    worker.wish("b", lambda: "closed", shown.append, wait_s=0.1)
    worker.forget("b")
    assert worker.settle(10.0) and len(shown) == 1 and shown[0] - asked >= 0.15


def test_exceptions_are_told_and_end_nothing(worker: Worker, failures: list):
    done: list = []
    worker.do(lambda: 1 / 0)
    worker.wish("a", lambda: {}["none"], done.append)
    worker.do(lambda: done.append("after"))
    assert worker.settle(10.0) and done == ["after"]
    assert [type(error) for error in failures] == [ZeroDivisionError, KeyError]


def test_stopping_finishes_the_jobs(failures: list):
    worker, done = Worker(failures.append), []
    gate = busy(worker)
    worker.do(lambda: done.append(1))
    worker.wish("a", lambda: 2, done.append, wait_s=60.0)
    gate.set()
    worker.stop()
    assert done == [1]


def test_settle_tells_when_it_takes_too_long(worker: Worker):
    gate = busy(worker)
    assert not worker.settle(0.05)
    gate.set()
    assert worker.settle(10.0)


def test_the_log_goes_back_and_forth():
    log, state = Log(), []
    for name in "ab":
        state.append(name)
        log.did(Act(name, state.pop, lambda name=name: state.append(name)))
    assert log.undo() == "b" and log.undo() == "a" and log.undo() is None and state == []
    assert log.redo() == "a" and state == ["a"]
    state.append("c")
    log.did(Act("c", state.pop, lambda: state.append("c")))
    assert log.redo() is None and log.undo() == "c" and state == ["a"]
