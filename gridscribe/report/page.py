"""The HTML file: one page without scripts, fonts or pictures from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gridscribe import __version__
from gridscribe.report.charts import amount, clock
from gridscribe.report.facts import Facts
from gridscribe.report.found import areas_section, pace_section, pages_section, rate_unit
from gridscribe.report.markup import Markup, place, tag
from gridscribe.report.ran import job_section, ran_section
from gridscribe.report.style import CSS

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page may load, as it tells the browser: its own style and pictures, and nothing else."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of an image or a page, or why there is none."""

    title: str
    source: str
    shows: str
    """What the picture shows, for those who do not see it."""
    png: bytes | None = None
    missing: str | None = None


def report_html(facts: Facts, samples: Sequence[Sample], made: datetime) -> str:
    """The whole file. `made` is the moment that it is told of."""
    title = f"gridscribe report: {facts.output}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )
    sections = [
        _section("What ran", "ran", ran_section(facts)),
        *(
            _section(f"Job {job.job}", f"job-{job.job}", job_section(job, documents=facts.documents))
            for job in facts.jobs
        ),
        _section("Throughput over time", "pace", pace_section(facts)),
        _section("What is on the pages", "found", pages_section(facts))
        if facts.documents
        else _section("Class areas", "found", areas_section(facts)),
        *([_section("Sample pictures", "samples", [_figure(sample) for sample in samples])] if samples else []),
    ]
    footer = f"Made by gridscribe {__version__} at {clock(made.astimezone(UTC))} UTC from what lies under the output."
    body = tag("body", tag("main", _header(facts), _tiles(facts), *sections, tag("footer", footer)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _section(title: str, name: str, parts: Iterable[str]) -> Markup:
    return tag("section", tag("h2", title, id=name), *parts, aria_labelledby=name)


def _header(facts: Facts) -> Markup:
    kind = "Pages of documents" if facts.documents else "RGB + height rasters"
    words = tag("p", f"{kind}; product ", tag("code", facts.product["product"]), class_="soft")
    return tag("header", tag("h1", "Report of ", place(facts.output)), words)


def _tiles(facts: Facts) -> Markup:
    unit = "pages" if facts.documents else "images"
    tiles = []
    if facts.jobs:
        counts = {
            "inputs": sum(job.sources for job in facts.jobs),
            "done": sum(job.done for job in facts.jobs),
            "skipped": sum(job.skipped.count for job in facts.jobs),
            "failed": sum(job.failed.count for job in facts.jobs),
            "left": sum(job.left for job in facts.jobs),
        }
        of = "" if len(facts.jobs) == 1 else f", {len(facts.jobs)} jobs"
        tiles += [
            (f"{name}{of}", f"{count:,}")
            for name, count in counts.items()
            if count or name in ("inputs", "done", "failed")
        ]
    tiles.append((f"{unit} committed", f"{len(facts.tally.images):,}"))
    tiles.append(("megapixels", amount(facts.tally.pixels / 1e6)))
    if facts.pace.mean is not None:
        tiles.append((f"{rate_unit(facts)} on average", amount(facts.pace.mean)))
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles), class_="tiles")


def _figure(sample: Sample) -> Markup:
    if sample.png is None:
        shown = tag("p", f"No picture: {sample.missing}", class_="missing")
    else:
        data = base64.b64encode(sample.png).decode("ascii")
        shown = tag("img", src=f"data:image/png;base64,{data}", alt=f"{sample.shows}: {sample.title}")
    return tag("figure", shown, tag("figcaption", sample.title, ", from ", place(sample.source)))
