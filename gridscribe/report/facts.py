"""All that a report tells, gathered from an output."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gridscribe.errors import MissingObjectError, QueryError
from gridscribe.manifest import Plan, list_jobs, read_plan
from gridscribe.products import list_products, only_product, read_product
from gridscribe.report.accounts import JobAccount, accounts_of
from gridscribe.report.pace import Pace, pace_of
from gridscribe.report.tally import Tally, tally_product
from gridscribe.store import Store

JOBS = 20
"""Jobs that a report goes into, the latest; others are counted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report tells of one product."""

    output: str
    product: dict[str, Any]
    """`product.json`."""
    jobs: tuple[JobAccount, ...]
    """Latest plan first."""
    more_jobs: int
    """Jobs of the product that are not among them."""
    tally: Tally
    pace: Pace
    """Of images (megapixels) or pages."""
    region_pace: Pace

    @property
    def documents(self) -> bool:
        """Whether it is of pages."""
        return self.product.get("job") == "documents"


def gather(store: Store, *, product: str | None, job: str | None, samples: int) -> Facts:
    """The facts of a product and its jobs, or of one of them; what is committed is told of the whole product.

    `product` is an id or the beginning of one that no other has; None where there is one alone. `job` likewise. Raises
    `QueryError` where there is nothing to tell of, or more than one thing and none is chosen.
    """
    plans = _plans(store)
    if job is not None:
        plans = [_one(job, "job", {plan.job: plan for plan in plans}, store)]
        product = product or plans[0].details["product"]
    chosen = (
        only_product(store)
        if product is None
        else _one(product, "product", {p: p for p in list_products(store)}, store)
    )
    own = [plan for plan in plans if plan.details["product"] == chosen]
    if job is not None and not own:
        raise QueryError(
            f"job {plans[0].job} has product {plans[0].details['product']}, not {chosen}: leave one of them out"
        )
    told = read_product(store, chosen)
    among = None if job is None else own[0].details["boxes"]
    documents = told.get("job") == "documents"
    tally = tally_product(store, chosen, documents=documents, samples=samples, among=among)
    begun = [datetime.fromisoformat(plan.details["planned"]) for plan in plans if plan.details["product"] == chosen]
    landed = [landing.time for landing in tally.landings]
    return Facts(
        output=store.uri,
        product=told,
        jobs=accounts_of(store, own[:JOBS]),
        more_jobs=len(own[JOBS:]),
        tally=tally,
        pace=pace_of(tally.landings, begun),
        region_pace=pace_of(tally.region_landings, begun + landed),
    )


def _plans(store: Store) -> list[Plan]:
    """Plans of all jobs, the latest first; a job whose planning was cut short has none."""
    found = []
    for job in list_jobs(store):
        try:
            found.append(read_plan(store, job))
        except MissingObjectError:
            continue
    return sorted(found, key=lambda plan: (plan.details["planned"], plan.job), reverse=True)


def _one(asked: str, what: str, have: dict[str, Any], store: Store) -> Any:
    found = [asked] if asked in have else [name for name in sorted(have) if name.startswith(asked)]
    if len(found) != 1:
        near = ", ".join((found or sorted(have))[:5]) or "none"
        raise QueryError(f"{what} {asked!r}: {len(found)} of {store.uri} match; it has {near}")
    return have[found[0]]
