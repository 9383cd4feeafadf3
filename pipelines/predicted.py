"""An item's rasters as files: what the raster job commits, and what evaluation scores.

Three stages run beside each other: windows are read and warped, predicted, and blended into rows that are written and encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gridscribe.models.engines import SharedEngine
from gridscribe.models.package import MaskClasses
from gridscribe.pipelines.items import Item
from gridscribe.pipelines.predicting import Predicted, predict_stream
from gridscribe.pipelines.reading import Broken, Closed, Opened, WindowPlan, read_item
from gridscribe.pipelines.stages import Deadline, ahead
from gridscribe.pipelines.writing import PartFiles, PartWriter

READ_AHEAD = 4  # windows read before they are asked for
PREDICT_AHEAD = 2  # answers waiting to be blended

Watch = Callable[[Opened, Predicted], None]


def predict_item(
    item: Item,
    windows: WindowPlan,
    engine: SharedEngine,
    package: MaskClasses,
    product: str,
    scratch: Path,
    deadline: Deadline,
    watch: Watch | None = None,
) -> tuple[list[PartFiles], list[Broken]]:
    """The parts that were predicted, as files below `scratch`, and those that cannot be read.

    `watch` is shown every window with its own answer, before answers are blended. Raises `ItemTimeoutError` or
    `CancelledError` as `deadline` says.
    """
    done: list[PartFiles] = []
    failed: list[Broken] = []
    opened: Opened | None = None
    writer: PartWriter | None = None
    read = ahead(read_item(item, windows, deadline), READ_AHEAD)
    for event in ahead(predict_stream(read, engine), PREDICT_AHEAD):
        match event:
            case Opened():
                opened = event
                writer = PartWriter(event, scratch / str(len(done) + len(failed)), package, product)
            case Predicted(seen, probabilities) if writer is not None and opened is not None:
                if watch is not None:
                    watch(opened, event)
                writer.add(seen, probabilities)
            case Closed() if writer is not None:
                done.append(writer.finish())
                writer = None
            case Broken():
                if writer is not None:
                    writer.discard()
                    writer = None
                failed.append(event)
    return done, failed
