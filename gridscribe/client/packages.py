"""The model package that a product was made with, found again by a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from gridscribe.errors import ModelError, QueryError


class Digested(Protocol):
    """A package of any kind."""

    @property
    def digest(self) -> str:
        """What stands for all that is in it."""
        ...


class Made(Protocol):
    """What a product says of its model."""

    @property
    def digest(self) -> str:
        """The package's."""
        ...

    @property
    def label(self) -> str:
        """Name and digest, for messages."""
        ...


P = TypeVar("P", bound=Digested)
WHERE = "say where it is with Client(..., alignment=PLACE), or --alignment PLACE"


def package_of(load: Callable[[str], P], place: str, product: str, model: Made, kind: str) -> P:
    """The package that `load` reads at `place`; `kind` is what messages call it.

    Raises `QueryError` where there is none, or another than the product's: vectors of different models are not compared.
    """
    try:
        package = load(place)
    except ModelError as error:
        raise QueryError(
            f"the {kind} package {model.label} of product {product} cannot be read from {place} ({error}): {WHERE}"
        ) from error
    if package.digest != model.digest:
        raise QueryError(
            f"the {kind} package at {place} has the digest {package.digest}, product {product} was embedded with "
            f"{model.digest} ({model.label}): vectors of different models are not compared; {WHERE}"
        )
    return package
