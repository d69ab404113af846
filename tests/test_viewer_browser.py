"""A connected browser, without one: where it is sent, and what it shows while it moves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_fields import looking
from viser import ClientHandle

from featurefields.viewer.browser import FIRST_TRIES, Browser
from featurefields.viewer.cameras import Pose
from featurefields.viewer.stage import Stage
from featurefields.viewer.view import View
from featurefields.viewer.worker import Worker

CAMERA = looking((3.0, 0.5, 1.6), size=(48, 40))


class Page(ClientHandle):
    """viser's side of a page: what it is told, and what it tells."""

    def __init__(self) -> None:
        self.client_id, self.sent, self.told = 1, [], []
        state = {
            "wxyz": np.array([1.0, 0, 0, 0]), "position": np.zeros(3), "fov": 1.0, "aspect": 1.2,
            "up_direction": np.array([0.0, 0, 1]), "look_at": np.ones(3),
        }  # fmt: skip
        page = self

        class Handle(SimpleNamespace):
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                page.sent.append((name, value))

            def on_update(self, act: Callable[[Any], None]) -> None:
                page.told.append(act)

        self.camera = Handle(**state)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        yield

    def tells(self, pose: Pose) -> None:
        """It has moved."""
        for name in ("wxyz", "position", "fov", "aspect"):
            self.camera.__dict__[name] = getattr(pose, name)
        for act in self.told:
            act(self.camera)


class Wishes(Worker):
    """A worker that does what is wished when it is told to."""

    def __init__(self) -> None:
        self.waiting: dict[Any, Callable[[], Any]] = {}

    def wish(
        self, key: Any, draw: Callable[[], Any], deliver: Callable[[Any], Any], **_: Any
    ) -> None:  # the pictures themselves are another test's
        self.waiting[key[1]] = lambda: deliver(draw())

    def passes(self, name: str) -> bool:
        found = self.waiting.pop(name, None)
        if found is not None:
            found()
        return found is not None


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def wishes() -> Wishes:
    return Wishes()


@pytest.fixture
def browser(page: Page, wishes: Wishes) -> Browser:
    stage = object.__new__(Stage)
    stage.document = SimpleNamespace(version=0)  # type: ignore[assignment]
    return Browser(page, stage, wishes, View(), splats=False)


def test_a_page_that_missed_where_to_begin_is_sent_again(browser: Browser, page: Page, wishes: Wishes):
    browser.begin_at(CAMERA, 3.0)
    first = len(page.sent)
    assert wishes.passes("arrival") and len(page.sent) > first
    places = [value for name, value in page.sent[first:] if name == "position"]
    assert not np.allclose(places[0], places[-1]) and np.allclose(places[-1], CAMERA.position)
    page.tells(Pose.of(CAMERA))
    sent = len(page.sent)
    assert wishes.passes("arrival") and len(page.sent) == sent  # it has said that it is there
    assert not wishes.passes("arrival")


def test_a_page_that_never_answers_is_given_up(browser: Browser, wishes: Wishes):
    browser.begin_at(CAMERA, 3.0)
    assert sum(wishes.passes("arrival") for _ in range(2 * FIRST_TRIES)) == FIRST_TRIES


def test_only_movements_show_something_at_once(browser: Browser, page: Page, wishes: Wishes):
    browser.go_to(CAMERA, 3.0)
    page.tells(replace(Pose.of(CAMERA), wxyz=(1.0, 0.0, 0.0, 0.0)))  # there, but not turned yet
    page.tells(Pose.of(CAMERA))
    assert "moving" not in wishes.waiting and "still" in wishes.waiting
    moved = looking((3.0, 0.4, 1.6), size=(48, 40))
    page.tells(Pose.of(moved))
    assert "moving" in wishes.waiting
    wishes.waiting.clear()
    turned = CAMERA.world_from_camera.clone()
    turned[:3, :2] = turned[:3, :2] @ torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    page.tells(Pose.of(type(CAMERA)(turned, CAMERA.focal_px, CAMERA.centre_px, CAMERA.size)))
    assert "moving" in wishes.waiting
