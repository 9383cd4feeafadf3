"""The driver against an executor that misbehaves on purpose."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pytest

from gridscribe.errors import ItemTimeoutError, StoreError, UnreadableError, WorkerDiedError
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.sources import Source
from gridscribe.pipelines.items import Item, Part
from gridscribe.pipelines.receipts import Receipt
from gridscribe.values import Grid
from gridscribe.workers.drive import Failure, Tally, drive
from gridscribe.workers.executor import Outcome


def item(*names: str) -> Item:
    parts = []
    for name in names:
        source = Source(f"/data/{name}.tif")
        grid = Grid(8, 8)
        image = RasterImage(name, name, source, source, None, None, None, grid, "uint8", None, None, InputOptions())
        parts.append(Part(image, grid.window))
    return Item(tuple(parts))


class Scripted:
    """Answers items by a function, a bounded number at once, and remembers everything."""

    def __init__(self, answer: Callable[[Item, int], Outcome], places: int = 3) -> None:
        self.answer, self.places = answer, places
        self.flight: deque[tuple[Item, bool]] = deque()
        self.tries: dict[str, int] = {}
        self.most = 0
        self.alone: list[str] = []

    def ready(self) -> None: ...

    def takes(self, *, alone: bool) -> bool:
        return len(self.flight) < (1 if alone else self.places) and not any(a for _, a in self.flight)

    def submit(self, item: Item, *, alone: bool) -> None:
        assert self.takes(alone=alone)
        self.flight.append((item, alone))
        self.most = max(self.most, len(self.flight))
        if alone:
            self.alone.append(item.parts[0].image.image_id)

    def wait(self, timeout: float) -> list[Outcome]:
        item, _ = self.flight.popleft()
        self.tries[item.id] = self.tries.get(item.id, 0) + 1
        return [self.answer(item, self.tries[item.id])]

    def close(self) -> None: ...


def done(item: Item, attempt: int) -> Outcome:
    return Outcome(item, Receipt(item.id, (item.id,), images=len(item.parts), windows=1))


def run(items: list[Item], executor: Scripted, attempts: int = 3) -> Tally:
    return go(items, executor, attempts=attempts)


def go(
    items: list[Item],
    executor: Scripted,
    attempts: int = 3,
    stop: threading.Event | None = None,
    seen: list[Failure] | None = None,
) -> Tally:
    failures = seen if seen is not None else []
    return drive(
        items,
        executor,
        attempts=attempts,
        stop=stop or threading.Event(),
        on_done=lambda tally: None,
        on_failure=failures.append,
    )


def test_all_done_and_never_more_in_flight_than_places() -> None:
    executor = Scripted(done)
    tally = run([item(f"i{k}") for k in range(20)], executor)
    assert (tally.items, tally.images, tally.retried, tally.failures) == (20, 20, 0, [])
    assert executor.most == 3


def test_a_lost_item_is_tried_again_alone_until_attempts_run_out() -> None:
    def answer(it: Item, attempt: int) -> Outcome:
        if it.parts[0].image.image_id == "poison":
            return Outcome(it, error=WorkerDiedError("gone"), lost=True)
        return done(it, attempt)

    executor = Scripted(answer)
    tally = run([item("a"), item("poison"), item("b")], executor)
    assert tally.images == 2
    assert executor.alone == ["poison", "poison"]
    (failure,) = tally.failures
    assert (failure.record["image"], failure.record["error"], failure.attempt) == ("poison", "WorkerDiedError", 3)


def test_a_lost_bundle_is_taken_apart_so_that_its_neighbours_survive() -> None:
    def answer(it: Item, attempt: int) -> Outcome:
        if any(part.image.image_id == "poison" for part in it.parts):
            return Outcome(it, error=WorkerDiedError("gone"), lost=True)
        return done(it, attempt)

    tally = run([item("a", "poison", "b")], Scripted(answer))
    assert tally.images == 2
    assert [f.record["image"] for f in tally.failures] == ["poison"]


def test_a_death_that_passes_is_survived() -> None:
    def answer(it: Item, attempt: int) -> Outcome:
        return Outcome(it, error=WorkerDiedError("gone"), lost=True) if attempt == 1 else done(it, attempt)

    tally = run([item("a"), item("b")], Scripted(answer))
    assert (tally.images, tally.failures, tally.retried) == (2, [], 2)


def test_failed_parts_of_a_receipt_are_named_once() -> None:
    record = {
        "item": "x",
        "image": "bad",
        "source": "bad",
        "box": [0, 0, 8, 8],
        "error": "UnreadableError",
        "message": "m",
    }

    def answer(it: Item, attempt: int) -> Outcome:
        return Outcome(it, Receipt(it.id, ("y",), images=1, failed=(record,)))

    seen: list[Failure] = []
    tally = go([item("good", "bad")], Scripted(answer), seen=seen)
    assert [f.record for f in seen] == [f.record for f in tally.failures] == [record]


def test_a_timed_out_bundle_is_taken_apart_and_a_timed_out_image_fails() -> None:
    def answer(it: Item, attempt: int) -> Outcome:
        slow = any(part.image.image_id == "slow" for part in it.parts)
        return Outcome(it, error=ItemTimeoutError("late")) if slow else done(it, attempt)

    tally = run([item("a", "slow")], Scripted(answer))
    assert tally.images == 1
    assert [f.record["error"] for f in tally.failures] == ["ItemTimeoutError"]


@pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("a bug")])
def test_what_is_no_inputs_fault_ends_the_run(error: Exception) -> None:
    with pytest.raises(type(error)):
        run([item("a"), item("b")], Scripted(lambda it, attempt: Outcome(it, error=error)))


def test_an_input_error_of_a_single_item_is_a_failure() -> None:
    tally = run([item("a")], Scripted(lambda it, attempt: Outcome(it, error=UnreadableError("cut short"))))
    assert tally.failures[0].record["message"] == "cut short"


def test_a_stop_gives_up_what_waits() -> None:
    stop = threading.Event()

    def answer(it: Item, attempt: int) -> Outcome:
        stop.set()
        return done(it, attempt)

    tally = go([item(f"i{k}") for k in range(9)], Scripted(answer), stop=stop)
    assert tally.stopped
    assert tally.items < 9
