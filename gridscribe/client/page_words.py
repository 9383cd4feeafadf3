"""From a phrase to the vectors of its tokens, by the small file of a document package; the encoder is not read."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.documents import DocumentProduct
from gridscribe.client.packages import package_of
from gridscribe.errors import QueryError

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenQuery:
    """A phrase, taken apart."""

    vectors: Float32
    """[n, D], unit length."""
    lengths: tuple[int, ...]
    """Characters of each token."""


class PageWords:
    """Phrases as tokens' vectors. Safe to use from many threads."""

    def __init__(self, package: str | None = None) -> None:
        """`package`: where document packages are read from instead of the place that the product names."""
        self._package = package
        self._lock = threading.Lock()
        self._grams: dict[str, Float32] = {}

    def query(self, product: DocumentProduct, text: str) -> TokenQuery:
        """The tokens of a phrase in the space of the product's.

        Raises `QueryError` for a phrase without a token, where the vocabulary cannot be imported, and where the package at hand
        is another than the product's.
        """
        if not isinstance(text, str) or not text.strip():
            raise QueryError(f"phrase {text!r} is empty: words are needed, such as 'total amount'")
        spelling = _spelling()
        with self._lock:
            grams = self._vectors(product)
        tokens: list[int] = spelling.token_ids(text)
        if not tokens:
            raise QueryError(f"phrase {text!r} has no token")
        vectors: Float32 = spelling.token_vectors(grams, tokens)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        lengths = tuple(len(spelling.spelling(token).removesuffix("</w>")) for token in tokens)
        return TokenQuery(vectors, lengths)

    def _vectors(self, product: DocumentProduct) -> Float32:
        from gridscribe.models.document.package import gram_vectors, load_document_model

        if product.digest not in self._grams:
            load = partial(load_document_model, parts=("tokens",))
            package = package_of(load, self._package or product.uri, product.id, product, "document")
            self._grams[product.digest] = gram_vectors(package)
        return self._grams[product.digest]


def _spelling() -> Any:
    """The vocabulary; `QueryError` where it cannot be imported."""
    try:
        importlib.import_module("open_clip")
    except ImportError as error:
        raise QueryError(
            f"words on pages need the vocabulary that comes with open_clip, which cannot be imported here ({error}): "
            "`pip install open-clip-torch`, or ask on another machine"
        ) from error
    return importlib.import_module("gridscribe.models.document.spelling")
