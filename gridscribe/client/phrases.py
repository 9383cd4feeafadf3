"""From a phrase to the vector that is searched with: by the text tower of the product's alignment model, or its concept bank."""

from __future__ import annotations

import importlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.alignment import HOW, Alignment
from gridscribe.client.index import ProductInfo
from gridscribe.client.packages import package_of
from gridscribe.errors import LayoutError, MissingObjectError, QueryError
from gridscribe.layout import concepts_key
from gridscribe.store import Store
from gridscribe.tables import read_table

if TYPE_CHECKING:
    from gridscribe.models.clip.concepts import ConceptBank
    from gridscribe.models.clip.text import TextEncoder

Float32 = NDArray[np.float32]
Key = tuple[str, tuple[str, ...], str]

KEPT = 4096
"""Phrases whose vectors are kept: 8 MB of 512 components."""
NEEDED = ("torch", "open_clip")
"""What the text tower is built with; a client without them can ask with words of the concept bank."""
NAMED = 8  # words that an error lists


@dataclass(frozen=True, slots=True)
class Phrase:
    """A question in words."""

    text: str
    templates: tuple[str, ...] | None = None
    """Sentences with `{}` for the phrase, whose embeddings are averaged; None: those of the product's concept bank, else
    `models.clip.text.SATELLITE`."""


@dataclass(frozen=True, slots=True)
class QueryVector:
    """What is compared with stored vectors."""

    values: Float32
    """Unit length, float32 [D]."""
    origin: str
    """"text", "concept" or "region"."""


def alignment_of(product: ProductInfo) -> Alignment:
    """The model of a product's embeddings; `QueryError` where it has none."""
    if product.alignment is None:
        raise QueryError(
            f"product {product.id} was made without an alignment model, so it has no embeddings to compare with: {HOW}"
        )
    return product.alignment


@dataclass(frozen=True, slots=True)
class Bank:
    """The concept bank of a product."""

    words: dict[str, Float32]
    """Unit vectors by name and synonym in small letters, names first."""
    templates: tuple[str, ...]
    """The sentences that its words were put into."""


class Phrases:
    """Phrases as vectors. Keeps one text tower, and the vectors of what was asked last. Safe to use from many threads."""

    def __init__(self, store: Store, package: str | None = None) -> None:
        """`package`: where alignment packages are read from instead of the place that the product names."""
        self._store, self._package = store, package
        self._lock = threading.Lock()
        self._kept = Recent(KEPT)
        self._tower: TextEncoder | None = None
        self._banks: dict[str, Bank] = {}
        self._embedded: dict[tuple[str, str], Float32] = {}

    def vector(self, product: ProductInfo, phrase: Phrase) -> QueryVector:
        """The vector of a phrase in the space of the product's embeddings.

        From the text tower; where torch or open_clip cannot be imported, from the concept bank, if the phrase is one of its
        words (or a synonym). Raises `QueryError` where neither can be, where the product has no alignment model, and where the
        package at hand is another than the product's: it names both.
        """
        from gridscribe.models.clip.text import SATELLITE

        alignment = alignment_of(product)
        if not isinstance(phrase.text, str) or not phrase.text.strip():
            raise QueryError(f"phrase {phrase.text!r} is empty: words are needed, such as 'swimming pool'")
        with self._lock:
            bank = self._bank(product, alignment)
            templates = phrase.templates or (SATELLITE if bank is None else bank.templates)
            kept = self._kept.get((alignment.digest, templates, phrase.text))
            if kept is not None:
                return QueryVector(kept, "text")
            missing = _missing()
            if missing is not None:
                return QueryVector(_concept(bank, phrase.text, missing), "concept")
            return QueryVector(self._encoder(product, alignment).embed([phrase.text], templates)[0], "text")

    def bank_vectors(self, product: ProductInfo, bank: ConceptBank) -> Float32:
        """A unit vector for each concept of any bank, [n, D]; `QueryError` where there is no text tower."""
        from gridscribe.models.clip.concepts import embed_concepts

        alignment = alignment_of(product)
        with self._lock:
            key = alignment.digest, bank.digest
            if key not in self._embedded:
                missing = _missing()
                if missing is not None:
                    raise QueryError(
                        f"a bank of {len(bank.concepts)} concepts needs the text tower, and {missing} cannot be imported here: "
                        "`pip install torch open-clip-torch`, or on another machine"
                    )
                self._embedded[key] = embed_concepts(bank, self._encoder(product, alignment))
            return self._embedded[key]

    def _encoder(self, product: ProductInfo, alignment: Alignment) -> TextEncoder:
        if self._tower is None or self._tower.digest != alignment.digest:
            self._tower = None  # frees the memory of the other before this one's is taken
            self._tower = self._load(product, alignment)
        return self._tower

    def _load(self, product: ProductInfo, alignment: Alignment) -> TextEncoder:
        from gridscribe.models.clip.package import load_alignment
        from gridscribe.models.clip.text import TextEncoder

        load = partial(load_alignment, towers=("text",))
        package = package_of(load, self._package or alignment.uri, product.id, alignment, "alignment")
        return TextEncoder(package, self._kept)

    def _bank(self, product: ProductInfo, alignment: Alignment) -> Bank | None:
        """The product's concept bank, read once; None where it has none."""
        if alignment.concepts is None:
            return None
        if product.id not in self._banks:
            self._banks[product.id] = read_bank(self._store, product.id, alignment)
        return self._banks[product.id]


def read_bank(store: Store, product: str, alignment: Alignment) -> Bank:
    """The concept bank of a product; `LayoutError` where it is missing, damaged, or not the one that the product tells of."""
    key = concepts_key(product)
    try:
        table = read_table(store.get(key), key, ["name", "synonyms", "embedding"])
        vectors = np.array(table["embedding"].to_pylist(), np.float32).reshape(len(table), alignment.dim)
        told = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
        digest, templates = told["digest"], tuple(told["templates"].split("\n"))
    except (MissingObjectError, KeyError, ValueError) as error:  # pyarrow's errors are ValueError
        raise LayoutError(
            f"{store.uri_of(key)} is no concept bank: {error}; remove it and run the job again"
        ) from error
    if digest != alignment.concepts:
        raise LayoutError(f"{store.uri_of(key)} is the concept bank {digest}, the product's is {alignment.concepts}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise LayoutError(f"{store.uri_of(key)} holds a vector without direction")
    vectors /= lengths
    vectors.flags.writeable = False
    words: dict[str, Float32] = {}
    for group in ([[name] for name in table["name"].to_pylist()], table["synonyms"].to_pylist()):
        for some, vector in zip(group, vectors, strict=True):
            for word in some or ():
                words.setdefault(_word(word), vector)
    return Bank(words, templates)


def _concept(bank: Bank | None, text: str, missing: str) -> Float32:
    """The bank's vector of a word; `QueryError` where it has none, which names what is `missing` for other words."""
    words = {} if bank is None else bank.words
    if (found := words.get(_word(text))) is not None:
        return found
    some = ", ".join(list(words)[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")
    known = f"ask with a word of the product's concept bank ({some})" if words else "the product has no concept bank"
    raise QueryError(
        f"{text!r} needs the text tower, and {missing} cannot be imported here: `pip install torch open-clip-torch`, "
        f"or on another machine; without them, {known}"
    )


class Recent(MutableMapping[Key, Float32]):
    """The last `most` vectors that were used."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, OrderedDict[Key, Float32]()

    def __getitem__(self, key: Key) -> Float32:
        self._held.move_to_end(key)
        return self._held[key]

    def __setitem__(self, key: Key, value: Float32) -> None:
        self._held[key] = value
        if len(self._held) > self._most:
            self._held.popitem(last=False)

    def __delitem__(self, key: Key) -> None:
        del self._held[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def _missing() -> str | None:
    """Which of the modules that the text tower needs cannot be imported here, and why; None where all can."""
    for name in NEEDED:
        try:
            _: Any = importlib.import_module(name)
        except ImportError as error:
            return f"{name} ({error})"
    return None


def _word(text: str) -> str:
    return " ".join(text.casefold().split())
