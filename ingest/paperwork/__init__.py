"""Generated documents with text masks and per-token truth; see `generate_document`, `write_pages` and `PageTruth`."""

from __future__ import annotations

from .render import KINDS, Document, Page, generate_document
from .truth import Fact, PageTruth, Token, Word, rasterise
from .writer import document_files, write_pages

__all__ = [
    "KINDS",
    "Document",
    "Fact",
    "Page",
    "PageTruth",
    "Token",
    "Word",
    "document_files",
    "generate_document",
    "rasterise",
    "write_pages",
]
