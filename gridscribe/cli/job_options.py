"""What `gridscribe run` and `gridscribe submit` both ask: inputs, output, options of the job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gridscribe.cli.overrides import parse_overrides

if TYPE_CHECKING:
    from gridscribe.workers.running import RunRequest

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        required=True,
        metavar="URI",
        help="File, folder, glob, list (.txt, .csv, .parquet), tar, tar.gz, zip, s3:// prefix or STAC item. May be given often.",
    ),
    click.option(
        "--output",
        required=True,
        metavar="URI",
        help="Folder or s3://bucket/prefix that receives products, jobs and catalogue.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Ray actors; they share the cores."
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "torch", "openvino"]),
        help="What runs the network; auto: CUDA, else OpenVINO.",
    ),
    click.option(
        "--aoi",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="GeoJSON in longitude, latitude: only pixels around it (to multiples of 512).",
    ),
    click.option(
        "--item-size",
        type=int,
        metavar="PX",
        help="Largest box that one worker takes and commits at once; a multiple of 512.",
    ),
    click.option(
        "--datetime", "when", metavar="ISO8601", help="When the images were taken, for those that do not say."
    ),
    click.option("--retry-failed", is_flag=True, help="Try inputs again that failed in an earlier run of this job."),
    click.option(
        "--cfg-options",
        "overrides",
        multiple=True,
        metavar="K=V",
        help="Override the job config, e.g. inputs.scale=(0,3000) or model=my-model.",
    ),
)


def job_options(command: F) -> F:
    """The options of a job, before those that a command has itself."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def request_of(
    job: str,
    options: dict[str, Any],
    *,
    executor: str = "ray",
    address: str | None = None,
) -> RunRequest:
    """The request that the values of `OPTIONS` make."""
    from gridscribe.workers.running import RunRequest

    aoi: Path | None = options["aoi"]
    return RunRequest(
        job=job,
        inputs=options["inputs"],
        output=options["output"],
        executor=executor,
        workers=options["workers"],
        address=address,
        aoi=aoi,
        retry_failed=options["retry_failed"],
        overrides=_overrides(options["overrides"], options["engine"], options["item_size"], options["when"]),
    )


def _overrides(pairs: tuple[str, ...], engine: str | None, item_size: int | None, when: str | None) -> dict[str, Any]:
    """What the options say, as dotted keys of the job config."""
    values = parse_overrides(pairs)
    if engine is not None:
        values["engine.name"] = engine
    if item_size is not None:
        values["item_size"] = item_size
    if when is not None:
        values["inputs.datetime"] = when
    return values
