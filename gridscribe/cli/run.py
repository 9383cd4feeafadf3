"""`gridscribe run`: a batch job over inputs."""

from __future__ import annotations

import json
import signal
import threading
from types import FrameType
from typing import Any

import click

from gridscribe.cli.job_options import job_options, request_of
from gridscribe.cli.results import stdout_for_results
from gridscribe.progress import byte_size, duration, reporter


@click.command("run")
@click.argument("job")
@job_options
@click.option(
    "--executor",
    type=click.Choice(["ray", "local"]),
    default="ray",
    show_default=True,
    help="Ray actors, or threads of this process (no start-up time).",
)
@click.option(
    "--address", metavar="ADDRESS", help="An existing Ray cluster; default: RAY_ADDRESS, else one is started here."
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would run: images, items, bytes, an estimate of time. Writes nothing."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    job: str,
    executor: str,
    address: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run JOB (a config file, or a shipped one: raster, documents) over inputs.

    \b
      gridscribe run raster --input tiles/ --output out
      gridscribe run raster --input s3://in/tiles.tar --output s3://out/run1 --workers 4
      gridscribe run documents --input scans/ --output pages-out

    RGB and height are paired by name: x_rgb.tif with x_ndsm.tif (or chm, agl, height), or x_dsm.tif and x_dtm.tif. Without
    height an image fails, unless the model can do without. Documents are PDF, TIFF, PNG, JPEG and WebP.
    Stop it with Ctrl-C, or lose the machine: the same command goes on where it stopped, and when all is done says so.
    """
    from gridscribe.workers.run import dry_run_report, run_job

    report = reporter()
    request = request_of(job, options, executor=executor, address=address)
    if dry_run:
        plan = dry_run_report(request, report)
        _show(plan, as_json, _dry_text(plan))
        return
    with _stop_on_signal(report.say) as stop, stdout_for_results():
        try:
            result = run_job(request, report, stop)
        finally:
            report.finish()
    _show(result.to_json(), as_json, _text(result.to_json()))
    ctx.exit(1 if result.stopped else 3 if result.counts["failed"] else 0)


class _stop_on_signal:  # noqa: N801 - reads as a statement
    """The first Ctrl-C (or SIGTERM) asks for a clean stop; the second one interrupts."""

    def __init__(self, say: Any) -> None:
        self._say = say
        self._stop = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> threading.Event:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self._stop

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._say("stopping; run the same command again to go on (Ctrl-C again: at once)")
        self._stop.set()

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _show(value: dict[str, Any], as_json: bool, text: str) -> None:
    click.echo(json.dumps(value, indent=2) if as_json else text)


def _text(result: dict[str, Any]) -> str:
    counts = result["counts"]
    lines = [f"failed   {failure['source']}: {failure['reason']}" for failure in result["failures"]]
    if result["stopped"]:
        lines.append(f"stopped: {counts['done']} of {counts['images']} images done; the same command goes on from here")
    elif not result["computed"] and result["nothing_to_do"]:
        lines.append("nothing to do: every input is accounted for already; nothing was written")
    lines.append(
        f"{counts['done']} images done ({result['computed']} in this run), {counts['skipped']} inputs skipped, "
        f"{counts['failed']} failed; job {result['job']}, product {result['product']}"
    )
    if result["without_height"]:
        lines.append(
            f"{result['without_height']} of the images have no height, which the model can do without; flag no-height "
            "(inputs.require_height=True refuses them)"
        )
    if result["computed"]:
        timing = result["seconds"]
        lines.append(
            f"{result['windows']} windows in {duration(timing['work'])} after {timing['start']:.1f} s of start-up and "
            f"{timing['plan']:.1f} s of planning; results in {result['output']}"
        )
    return "\n".join(lines)


def _dry_text(plan: dict[str, Any]) -> str:
    lines = [f"{account['state']:<8} {account['source']}: {account['reason']}" for account in plan["accounts"]]
    engine = plan["engine"]
    lines += [
        f"{plan['images']} images, {byte_size(plan['bytes'])}, {plan['megapixels']:,.1f} megapixels in {plan['items']} items; "
        f"left: {plan['items_left']} items, {plan['windows_left']} windows",
        *([f"{plan['without_height']} of the images have no height"] if plan["without_height"] else []),
        f"engine {engine['name']} {engine['precision']} on {engine['device']}; product {plan['product']}",
        f"about {duration(plan['hours'] * 3600)} of work ({plan['hours']:.2f} h) at {plan['seconds_per_window']:.3f} s a window, "
        "measured now",
    ]
    return "\n".join(lines)


__all__ = ["command"]
