"""The config of a documents job, read and checked once into frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gridscribe.errors import UsageError
from gridscribe.ingest.pages.values import PageOptions
from gridscribe.models.document.encoder import looks_inside
from gridscribe.models.pruning import Pruner, check_given, pruner_from_json
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.pipelines.job_parts import EngineOptions, checked
from gridscribe.quantise import KINDS, Kind

TEXT = {"method": "text-prior"}
MOST_CROPS = 4096
AFTER = {"vectors", "significance", "digest", "keys", "shallow"}
"""Of `Candidates`, what pages give a method after the encoder."""


@dataclass(frozen=True, slots=True)
class PageTokenOptions:
    """Which tokens of pages are computed, and which are stored."""

    before: bool = True
    """Whether the package's patch classifier keeps patches without text from being computed, where it has one."""
    patches: Mapping[str, Any] | None = None
    """In the classifier's place: a method of `models.pruning` that works before the encoder, on pixels or by lot."""
    within: Mapping[str, Any] | None = None
    """Settings of `models.pruning.skip`: patches that pass some of the encoder's layers by."""
    pruner: Mapping[str, Any] = field(default_factory=lambda: dict(TEXT))
    """A method of `models.pruning` for what was computed, and its settings."""
    kind: Kind = "int8"
    """What a component is stored as; "int8" or "float16"."""

    def __post_init__(self) -> None:
        if not isinstance(self.before, bool):
            raise UsageError(f"tokens.before={self.before!r}: must be True or False")
        if self.patches is not None and not isinstance(self.patches, Mapping):
            raise UsageError(f"tokens.patches={self.patches!r}: must be None or a dict with a method")
        if not isinstance(self.first, bool):
            if self.first.placement != "before":
                raise UsageError(
                    f"tokens.patches={self.patches!r}: this method works {self.first.placement} the encoder"
                )
            check_given(self.first, {"pixels", "digest"}, f"tokens.patches={self.patches!r}")
        if self.within is not None and not isinstance(self.within, Mapping):
            raise UsageError(
                f"tokens.within={self.within!r}: must be None or a dict of settings, such as dict(keep=0.5)"
            )
        if self.kind not in KINDS:
            raise UsageError(f"tokens.kind={self.kind!r}: allowed are {', '.join(KINDS)}")
        if not isinstance(self.pruner, Mapping):
            raise UsageError(f"tokens.pruner={self.pruner!r}: must be a dict with a method, such as {TEXT}")
        if self.made.placement != "after":
            raise UsageError(f"tokens.pruner={dict(self.pruner)}: this method works {self.made.placement} the encoder")
        check_given(self.made, AFTER, f"tokens.pruner={dict(self.pruner)}")
        if self.skip is not None and looks_inside(self.made):
            raise UsageError(
                f"tokens.within={self.within!r}: {self.made.name} looks at all layers of all patches, so none may pass them by"
            )

    @property
    def made(self) -> Pruner:
        """The pruner itself."""
        return pruner_from_json(dict(self.pruner) if "method" in self.pruner else {**TEXT, **self.pruner})

    @property
    def first(self) -> Pruner | bool:
        """What prunes before the encoder: a method, True for the package's classifier, False for nothing."""
        return self.before if self.patches is None else pruner_from_json(dict(self.patches))

    @property
    def skip(self) -> SkipTokens | None:
        """Which patches pass layers by; None for none."""
        if self.within is None:
            return None
        made = pruner_from_json({"method": SkipTokens.name, **self.within})
        if not isinstance(made, SkipTokens):
            raise UsageError(f"tokens.within={dict(self.within)}: the method there is {SkipTokens.name!r}")
        return made

    @property
    def inside(self) -> bool:
        """Whether an engine is needed that shows what happens between layers."""
        return self.skip is not None or bool(looks_inside(self.made))

    def to_json(self) -> dict[str, Any]:
        """Plain data with every setting, those that were left out too."""
        return {
            "before": self.before if self.patches is None else False,
            "patches": None if isinstance(self.first, bool) else self.first.to_json(),
            "within": None if self.skip is None else self.skip.to_json(),
            "pruner": self.made.to_json(),
            "kind": self.kind,
        }


@dataclass(frozen=True, slots=True)
class PagesJob:
    """A documents job as its config states it."""

    model: str = "pages"
    """A shipped model's name, a folder, or a URI of a document package."""
    inputs: PageOptions = field(default_factory=PageOptions)
    """How pages are read; `dpi` is part of the product."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    tokens: PageTokenOptions = field(default_factory=PageTokenOptions)
    masks: bool = True
    """Whether a mask of its text is written for each page."""
    thumbnails: bool = False
    """Whether the tokens of each page seen whole in one crop are stored too, on a grid of their own: a look at its layout."""
    latents: float | None = None
    """Where the package has adaptive latents: the mean difference of a crop's tokens below which no more are added; None: none
    are stored."""
    max_crops: int = 64
    """Most crops that a page is cut into; a page of more is made smaller."""
    bundle_pages: int = 16
    """Pages of an item. Does not change any object but the tables' division."""
    time_limit: float = 1800.0
    """Seconds one item may take."""
    attempts: int = 3
    """How often an item is tried when its worker dies."""

    def __post_init__(self) -> None:
        for name, most in (("max_crops", MOST_CROPS), ("bundle_pages", 10_000), ("attempts", 100)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise UsageError(f"{name}={value!r}: must be a whole number from 1 to {most}")
        for name in ("masks", "thumbnails"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name}={getattr(self, name)!r}: must be True or False")
        if self.latents is not None and not self.latents >= 0:
            raise UsageError(f"latents={self.latents!r}: must be None or a difference of at least 0")
        if not self.time_limit > 0:
            raise UsageError(f"time_limit={self.time_limit}: must be more than 0 seconds")

    def settings(self) -> dict[str, Any]:
        """The part that decides what is written, for the product."""
        return {
            "inputs": self.inputs.settings(),
            "tokens": self.tokens.to_json(),
            "masks": self.masks,
            "thumbnails": self.thumbnails,
            "latents": self.latents,
            "max_crops": self.max_crops,
        }


_PARTS: dict[str, type] = {"inputs": PageOptions, "engine": EngineOptions, "tokens": PageTokenOptions}


def pages_job(values: Mapping[str, Any], where: str = "job config") -> PagesJob:
    """A `PagesJob` from plain data; raises `UsageError` naming the key, the value and what is allowed."""
    values = dict(values)
    for name, cls in _PARTS.items():
        if name in values:
            if not isinstance(values[name], Mapping):
                raise UsageError(f"{where}: {name}={values[name]!r}: must be a dict")
            values[name] = checked(cls, values[name], f"{where}: {name}")
    found: PagesJob = checked(PagesJob, values, where)
    return found
