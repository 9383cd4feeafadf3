"""The concept bank of a product: embedded once, stored beside the product, read by every worker.

Labels are so the same whichever machine works on an item, and a client without the text tower has the vectors of these words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gridscribe.errors import AlreadyExistsError, LayoutError
from gridscribe.layout import concepts_key
from gridscribe.models.clip.concepts import ConceptBank, embed_concepts
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.store import Store
from gridscribe.tables import read_table, write_table

DIGEST = b"digest"
TEMPLATES = b"templates"


@dataclass(frozen=True, slots=True, eq=False)
class Concepts:
    """The bank that labels come from, embedded."""

    names: tuple[str, ...]
    vectors: NDArray[np.float16]
    """[names, D]: unit vectors."""


def concepts_schema() -> pa.Schema:
    """Columns of `concepts.parquet`: `name`, `synonyms`, `embedding` (float16, of unit length). Its metadata has the `digest` of
    the bank and the `templates`, one to a line, that words were put into."""
    fields = [("name", pa.string()), ("synonyms", pa.list_(pa.string())), ("embedding", pa.list_(pa.float16()))]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


def store_bank(store: Store, product: str, bank: ConceptBank, package: AlignmentPackage) -> None:
    """Embed the bank and create the product's `concepts.parquet`, unless it is there: the one that is there holds.

    `package` needs its text tower. Raises QueryError for a word that is too long for it.
    """
    key = concepts_key(product)
    if store.exists(key):
        return
    from gridscribe.models.clip.text import TextEncoder

    vectors = embed_concepts(bank, TextEncoder(package)).astype(np.float16)
    metadata = {DIGEST: bank.digest, TEMPLATES: "\n".join(bank.templates)}
    table = pa.table(
        {
            "name": list(bank.names),
            "synonyms": [list(concept.synonyms) for concept in bank.concepts],
            "embedding": list(vectors),
        },
        schema=concepts_schema().with_metadata(metadata),
    )
    try:
        store.put(key, write_table(table))
    except AlreadyExistsError:
        return


def read_bank(store: Store, product: str, digest: str) -> Concepts:
    """The product's bank; `LayoutError` where it is not that of `digest`, or damaged."""
    key = concepts_key(product)
    table = read_table(store.get(key), key)
    found = (table.schema.metadata or {}).get(DIGEST, b"").decode()
    if table.schema.names != concepts_schema().names or found != digest:
        raise LayoutError(
            f"{store.uri_of(key)} is the concept bank {found[:16] or '?'}, the product's is {digest[:16]}"
        )
    vectors = np.stack(table["embedding"].to_numpy()).astype(np.float16)
    return Concepts(tuple(table["name"].to_pylist()), vectors)
