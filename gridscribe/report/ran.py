"""The sections of what ran, and of what became of each job's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gridscribe.report.accounts import JobAccount, Reasons
from gridscribe.report.charts import clock, parts_bar
from gridscribe.report.facts import Facts
from gridscribe.report.markup import Markup, join, place, table, tag, without_secrets


def ran_section(facts: Facts) -> list[Markup]:
    """Jobs, models, engine, versions and settings."""
    product, tally = facts.product, facts.tally
    engine, versions = product["engine"], product.get("versions", {})
    models = table(
        "Models, by the digest of their weights",
        ("For", "Name", "SHA-256", "Place"),
        (
            (m["role"], str(m.get("name", "")), tag("code", m["digest"]), place(str(m.get("uri", ""))))
            for m in product["models"]
        ),
    )
    rows = [
        ("Job config", str(product.get("job", "not told"))),
        ("Engine", f"{engine.get('name', 'not told')} on {engine.get('device', 'a device that is not told')}"),
        ("Precision", str(engine.get("precision", "not told"))),
        *((f"Engine: {key}", _plain(engine[key])) for key in sorted({*engine} - {"name", "device", "precision"})),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "not told"),
        ("Schema of objects", str(product["schema"])),
        (
            "Items committed",
            f"{tally.items:,}" + (f", and {tally.region_items:,} of regions" if tally.region_items else ""),
        ),
        ("Crops encoded" if facts.documents else "Windows predicted", f"{tally.windows:,}"),
    ]
    settings = table(
        "Settings",
        ("Setting", "Value"),
        ((name, tag("code", without_secrets(value))) for name, value in _flat(product["settings"])),
    )
    jobs = (
        [_jobs(facts)] if facts.jobs else [tag("p", "No job of this product is planned here any more.", class_="warn")]
    )
    return [
        *jobs, models, table("Product", ("", "Value"), rows),
        tag("details", tag("summary", "All settings that decide the results"), settings),
    ]  # fmt: skip


def _jobs(facts: Facts) -> Markup:
    rows = []
    for job in facts.jobs:
        shown = list(job.inputs[:5])
        more = len(job.inputs) - len(shown)
        asked = join([*(tag("div", place(name)) for name in shown), *([f"and {more:,} more"] if more else [])])
        state = "open" if job.open else "done"
        badge = tag("span", state, class_=f"state {state}")
        link = tag("a", tag("code", job.job), href=f"#job-{job.job}")
        rows.append((link, badge, _time(job.planned), _time(job.finished), asked))
    earlier = f"; {facts.more_jobs:,} earlier ones are not shown" if facts.more_jobs else ""
    return table(f"Jobs, latest first{earlier}", ("Job", "State", "Planned", "Finished", "Inputs asked for"), rows)


def job_section(job: JobAccount, *, documents: bool) -> list[Markup]:
    """The counts of a job, which must add up, and the inputs that failed or were skipped."""
    parts = [("done", job.done), ("skipped", job.skipped.count), ("failed", job.failed.count), ("left", job.left)]
    shown = [(name, count) for name, count in parts if name != "left" or count]
    terms = " + ".join(f"{count:,} {name}" for name, count in shown)
    what = (
        "Inputs are pages and files without pages"
        if documents
        else "Inputs are images (RGB with its height) and files that are none"
    )
    out = [tag("p", f"{job.sources:,} inputs = {terms}", class_="sum"), parts_bar(parts) if job.sum else Markup("")]
    out.append(tag("p", f"{what}; each is counted once.", class_="soft"))
    if job.sum != job.sources:
        words = f"This does not add up: the plan names {job.sources:,} inputs, {job.sum:,} are accounted for."
        out.append(tag("p", words, class_="warn"))
    if job.open:
        words = (
            "This job is open: it is running, or was stopped or killed; the store cannot tell which. The same command goes on "
            "where it stopped. What is said here is as of now."
        )
        out.append(tag("p", words, class_="warn"))
    for reasons, name in ((job.failed, "failed"), (job.skipped, "skipped")):
        out += _reasons(reasons, name)
    return out


def _reasons(reasons: Reasons, name: str) -> list[Markup]:
    if not reasons.count:
        return [tag("p", f"No input {'has failed' if name == 'failed' else 'was skipped'}.")]
    kinds = ", ".join(f"{count:,} {kind or 'of no stated kind'}" for kind, count in reasons.kinds)
    cut = reasons.count - len(reasons.listed)
    caption = f"{kinds}." + (
        f" The first {len(reasons.listed):,} by name; {cut:,} more stand in {reasons.rest}." if cut else ""
    )
    rows = ((place(one.source), one.kind, without_secrets(one.reason)) for one in reasons.listed)
    title = tag("h3", f"{reasons.count:,} {name}")
    listed = tag("div", table(caption, ("Input", "Kind", "Reason"), rows), class_="reasons")
    if name == "failed":
        return [title, listed]
    return [title, tag("details", tag("summary", f"{kinds}: show names and reasons"), listed)]


def _time(text: str | None) -> str:
    """An ISO time of a plan or manifest in UTC."""
    return "" if text is None else f"{clock(datetime.fromisoformat(text).astimezone(UTC))} UTC"


def _plain(value: Any) -> str:
    return "not set" if value is None else str(value)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Settings as (dotted name, value)."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{name}.{key}" if name else str(key))
    else:
        yield name, _plain(value)
