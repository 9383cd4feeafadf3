"""From input URIs to pages: list, open each document once to count its pages, and account for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from gridscribe.errors import InputError, RefusedError
from gridscribe.ingest.archives import Entry, failure, skip
from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.identity import content_digest, image_id
from gridscribe.ingest.images import Account
from gridscribe.ingest.listing import Inputs, Place
from gridscribe.ingest.pages.reader import PageReader, local_copy
from gridscribe.ingest.pages.values import Looked, PageDiscovery, PageImage, PageOptions, page_name
from gridscribe.ingest.pairing import is_archive, is_other_archive, skip_reason
from gridscribe.ingest.stac_items import StacImage

Progress = Callable[[str, int], None]
SUFFIXES = (".pdf", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp")
TRUTH, TEXT = "_tokens.json", "_text.png"
"""Beside a generated page lie what is true of it, and the mask of its text, which is no page."""
_REPORT_EVERY = 64


def discover_pages(uris: Sequence[str], options: PageOptions, *, progress: Progress | None = None) -> PageDiscovery:
    """The pages of the documents that lie under `uris`, an account of every other file and of pages that cannot be read.

    In the order of `ingest.discover`. Every document is opened (in another process) to count its pages; none is rendered.
    One bad file is one account, one bad page too. A file that several inputs name counts once. Raises UsageError where a URI
    leads nowhere, StoreError where a store does not answer.
    """
    with PageReader(options) as reader:
        run = _Run(options, reader, progress)
        for found in Inputs(uris, options.limits).places():
            if isinstance(found, Account):
                run.accounts.append(found)
            elif isinstance(found, StacImage):
                run.accounts.append(skip(found.name, "format", "a STAC item: this job reads documents"))
            else:
                run.place(found)
    return PageDiscovery(tuple(run.pages), tuple(run.accounts))


class _Run:
    """State of one discovery."""

    def __init__(self, options: PageOptions, reader: PageReader, progress: Progress | None) -> None:
        self.options, self.reader, self.progress = options, reader, progress
        self.pages: list[PageImage] = []
        self.accounts: list[Account] = []
        self._names: dict[str, str] = {}
        self._located: set[str] = set()
        self._count = 0

    def place(self, place: Place) -> None:
        """Take in one place's documents."""
        entries = list(place.entries())  # a generated page is told by what lies beside it
        truths = {entry.path for entry in entries if isinstance(entry, Entry) and entry.path.endswith(TRUTH)}
        for entry in self._documents(entries, truths):
            try:
                self._document(entry, place)
            except InputError as error:
                self.accounts.append(failure(entry.source.name, error))

    def _documents(self, entries: Iterable[Entry | Account], truths: set[str]) -> Iterator[Entry]:
        for entry in entries:
            self._count += 1
            if self.progress is not None and self._count % _REPORT_EVERY == 0:
                self.progress("looking at documents", self._count)
            if isinstance(entry, Account):
                self.accounts.append(entry)
                continue
            source, path = entry.source, entry.path
            if source.member is None:
                if source.uri in self._located:
                    continue
                self._located.add(source.uri)
            elif is_archive(path):
                reason = "an archive inside an archive: unpack the outer one, or name the inner one as input"
                self.accounts.append(failure(source.name, RefusedError(reason)))
                continue
            if is_other_archive(path):
                reason = "an archive or compressed file of a kind that is not read: repack it as plain tar"
                self.accounts.append(failure(source.name, RefusedError(reason)))
                continue
            passed_over = _passed_over(path, truths)
            if passed_over is not None:
                self.accounts.append(skip(source.name, *passed_over))
                continue
            yield entry

    def _document(self, entry: Entry, place: Place) -> None:
        ranges = place.open(entry)
        try:
            source = entry.source
            if source.size is None or source.etag is None:
                source = replace(source, size=ranges.size, etag=ranges.etag)
            digest = self._digest(ranges, entry)
        finally:
            ranges.close()
        path = entry.path.rpartition("/")[2] if place.single else entry.path
        document = image_id(path, [("document", source.size or 0, digest)])
        if document in self._names:
            reason = f"the same document, by path and content, as {self._names[document]}"
            self.accounts.append(skip(source.name, "duplicate", reason))
            return
        with local_copy(source, self.options) as local:
            looked = self.reader.look(local)
        self._names[document] = source.name
        self._take(document, place.label + entry.path, replace(entry, source=source), looked)

    def _take(self, document: str, display: str, entry: Entry, looked: Looked) -> None:
        count, source = len(looked.pages), entry.source
        for number, shape in enumerate(looked.pages):
            if isinstance(shape, str):
                self.accounts.append(Account(page_name(source.name, number, count), "failed", shape, "UnreadableError"))
                continue
            height, width = shape.pixels(self.options.dpi)
            if height * width > self.options.max_pixels:
                error = RefusedError(
                    f"the page is {width:,} x {height:,} px at {self.options.dpi:g} dots per inch (limit max_pixels: "
                    f"{self.options.max_pixels:,}): lower dpi, or raise the limit"
                )
                self.accounts.append(failure(page_name(source.name, number, count), error))
                continue
            self.pages.append(
                PageImage(document, number, count, display, source, looked.kind, height, width, shape.flags)
            )

    def _digest(self, ranges: Ranges, entry: Entry) -> str:
        limits, source = self.options.limits, entry.source
        if source.remote and source.member is None and ranges.etag is not None:
            return f"etag {ranges.etag}"
        full = limits.full_digest_remote if source.remote and ranges.local is None else limits.full_digest
        return content_digest(ranges, full)


def _passed_over(path: str, truths: set[str]) -> tuple[str, str] | None:
    """(kind, reason) of a file that is no document by its name, else None."""
    passed_over = skip_reason(path)
    if passed_over is not None and passed_over[0] == "hidden":
        return passed_over
    if path.endswith(TEXT) and path.removesuffix(TEXT) + TRUTH in truths:
        return "label", "the text mask of a generated page"
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in SUFFIXES:
        return "format", f"not a document format that is read ({suffix or 'no suffix'})"
    return None
