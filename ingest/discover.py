"""From input URIs to images: list, look at each header, pair, and account for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gridscribe.errors import InputError, RefusedError, UnpairedError
from gridscribe.ingest import tiff
from gridscribe.ingest.absence import LostHeights, must_have
from gridscribe.ingest.archives import Entry, failure, replaced, skip
from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.identity import content_digest, image_id
from gridscribe.ingest.images import Account, Discovery, Gap, InputOptions, RasterImage
from gridscribe.ingest.info import ground_sampling_distance
from gridscribe.ingest.listing import Inputs, Place
from gridscribe.ingest.opening import open_bytes
from gridscribe.ingest.pairing import Group, image_path, is_archive, is_other_archive, pair, read_name, skip_reason
from gridscribe.ingest.parts import Part, check_parts
from gridscribe.ingest.probe import Prober
from gridscribe.ingest.sources import Source
from gridscribe.ingest.stac_items import StacImage
from gridscribe.ingest.times import from_path, iso
from gridscribe.store import concurrently

Progress = Callable[[str, int], None]
"""Called now and then with what is going on ("looking at files") and how many files have been met."""

_ROLES = ("rgb", "height", "dsm", "dtm")
_AT_ONCE = 16  # remote files looked at together
_REPORT_EVERY = 256


def discover(
    uris: Sequence[str], options: InputOptions, *, height_for: str | None = "", progress: Progress | None = None
) -> Discovery:
    """The images that lie under `uris`, and an account of every other file there.

    RGB without height is a failure, and `height_for` ends its reason: who needs height, and what to do. With None an RGB image
    is one without height too, where it has none (see `ingest.absence`): a broken or half height stays a failure.

    The order is that of the inputs, and of paths or members inside one; files that were named one by one come after
    folders, and archives last.

    Reads headers, and as many bytes as identity takes (`ingest.identity`); no pixels. One bad file is one account. A file
    that several inputs name counts once. Raises UsageError where a URI leads nowhere, StoreError where a store does not
    answer.
    """
    run = _Run(options, height_for, progress)
    for found in Inputs(uris, options.limits).places():
        if isinstance(found, Account):
            run.lost.note(found.source)
            run.accounts.append(found)
        elif isinstance(found, StacImage):
            run.item(found)
        else:
            run.place(found)
    return Discovery(tuple(run.images), tuple(run.accounts))


class _Run:
    """State of one discovery."""

    def __init__(self, options: InputOptions, height_for: str | None, progress: Progress | None) -> None:
        self.options, self.height_for, self.progress = options, height_for, progress
        self.lost = LostHeights()
        self.prober = Prober(options.limits)
        self.images: list[RasterImage] = []
        self.accounts: list[Account] = []
        self._names: dict[str, str] = {}
        self._located: set[str] = set()
        self._gap: str | None = None
        self._count = 0

    def place(self, place: Place) -> None:
        """Take in one place's images and accounts."""
        found: dict[str, Part] = {}
        failed: dict[str, str] = {}
        self._gap = None
        members = list(self._raster_entries(place.entries())) if place.slow else self._raster_entries(place.entries())
        look: Callable[[Entry], Part | Account] = lambda entry: self._look(entry, place.open)  # noqa: E731 - one name
        for entry, part in concurrently_or_not(look, members, slow=place.slow):
            name = entry.source.name
            if entry.path in found:
                self.accounts.append(replaced(found.pop(entry.path).source.name))
            failed.pop(entry.path, None)
            if isinstance(part, Account):
                self.accounts.append(part)
                failed[entry.path] = name
            else:
                found[entry.path] = part
        groups, misfits = pair([*found, *failed])
        for misfit in misfits:
            if misfit.path in found:
                kind = UnpairedError.__name__ if misfit.state == "failed" else "spare"
                self.accounts.append(Account(found[misfit.path].source.name, misfit.state, misfit.reason, kind))
        among_roles = any(read_name(path).role != "plain" for path in (*found, *failed))
        for group in groups:
            self._group(place, group, found, failed, among_roles=among_roles)

    def item(self, item: StacImage) -> None:
        """Take in one STAC item."""
        if item.problem is not None:
            self.accounts.append(failure(item.name, item.problem))
            return
        parts: dict[str, Part] = {}
        for role, href in item.hrefs.items():
            part = self._look(Entry(Source(href), href), lambda entry: open_bytes(entry.source, self.options.limits))
            if isinstance(part, Account):
                reason = f"its {role} asset {part.source}: {part.reason}"
                self.accounts.append(Account(item.name, "failed", reason, part.error))
                return
            parts[role] = part
        self._image(parts, item.path, item.path, item, item.lost_height)

    def _raster_entries(self, entries: Iterable[Entry | Account]) -> Iterator[Entry]:
        """Those to look at; the others are accounted for."""
        for entry in entries:
            self._count += 1
            if self.progress is not None and self._count % _REPORT_EVERY == 0:
                self.progress("looking at files", self._count)
            if isinstance(entry, Account):
                self.lost.note(entry.source)
                if isinstance(entry, Gap):
                    self._gap = self._gap or entry.source
                self.accounts.append(entry)
                continue
            source = entry.source
            if source.member is None:
                if source.uri in self._located:
                    self.lost.note(source.name)  # it went into an earlier input, where it paired or failed
                    continue
                self._located.add(source.uri)
            elif is_archive(entry.path):
                reason = "an archive inside an archive: unpack the outer one, or name the inner one as input"
                self.accounts.append(failure(source.name, RefusedError(reason)))
                continue
            if is_other_archive(entry.path):
                self.lost.note(source.name)
                reason = "an archive or compressed file of a kind that is not read: repack it as plain tar"
                self.accounts.append(failure(source.name, RefusedError(reason)))
                continue
            passed_over = skip_reason(entry.path)
            if passed_over is not None:
                if passed_over[0] == "format":
                    self.lost.note(source.name)
                self.accounts.append(skip(source.name, *passed_over))
                continue
            yield entry

    def _look(self, entry: Entry, opening: Callable[[Entry], Ranges]) -> Part | Account:
        """What one file is, or the account of why it cannot be used."""
        source = entry.source
        try:
            ranges = opening(entry)
            try:
                if source.size is None or source.etag is None:
                    source = replace(source, size=ranges.size, etag=ranges.etag)
                head = ranges.fetch(0, tiff.HEAD)
                info = self.prober.probe(ranges, head)
                digest = self._digest(ranges, source, head)
            finally:
                ranges.close()
        except InputError as exc:
            return failure(source.name, exc)
        return Part(source, entry.path, info, digest)

    def _digest(self, ranges: Ranges, source: Source, head: bytes) -> str:
        limits = self.options.limits
        if source.remote and source.member is None and source.etag is not None:
            return f"etag {source.etag}"
        full = limits.full_digest_remote if source.remote and ranges.local is None else limits.full_digest
        return content_digest(ranges, full, head=head)

    def _group(
        self, place: Place, group: Group, found: dict[str, Part], failed: dict[str, str], *, among_roles: bool
    ) -> None:
        paths = {role: path for role in _ROLES if (path := getattr(group, role)) is not None}
        broken = [failed[path] for path in paths.values() if path in failed]
        if broken:
            for path in paths.values():
                if path in found:
                    error = UnpairedError(f"it belongs to {broken[0]}, which cannot be used")
                    self.accounts.append(failure(found[path].source.name, error))
            return
        parts = {role: found[path] for role, path in paths.items()}
        path = _below(group.rgb) if place.single else group.rgb
        needed = None
        if len(parts) == 1 and self.height_for is None:
            rgb = parts["rgb"]
            needed = must_have(
                rgb.source.name,
                georeferenced=rgb.info.grid.georeferenced,
                among_roles=among_roles,
                lost=self.lost,
                gap=self._gap,
            )
        self._image(parts, image_path(path), place.label + path, None, needed)

    def _image(
        self, parts: dict[str, Part], path: str, display: str, item: StacImage | None, needed: str | None
    ) -> None:
        """Add the image that `parts` make, or accounts of why they make none: of the item where they come from one.

        `needed`: why this image may not go without height where others may.
        """
        rgb, options = parts["rgb"], self.options
        grid = rgb.info.grid
        try:
            height_band = check_parts(parts, options, needed if self.height_for is None else self.height_for)
            gsd = ground_sampling_distance(grid) if grid.georeferenced else options.gsd
        except InputError as exc:
            inputs = [item.name] if item is not None else [part.source.name for part in parts.values()]
            self.accounts.extend(failure(name, exc) for name in inputs)
            return
        identity = image_id(path, [(role, part.source.size or 0, part.digest) for role, part in parts.items()])
        if identity in self._names:
            reason = f"the same image, by path and content, as {self._names[identity]}"
            self.accounts.append(skip(item.name if item is not None else rgb.source.name, "duplicate", reason))
            return
        self._names[identity] = rgb.source.name
        time = (item.datetime if item is not None else None) or rgb.info.datetime
        if time is None and options.datetime_pattern:
            time = from_path(display, options.datetime_pattern)
        if time is None and options.datetime:
            time = iso(options.datetime)
        sources = {role: parts[role].source if role in parts else None for role in _ROLES[1:]}
        self.images.append(
            RasterImage(
                image_id=identity,
                source=display,
                rgb=rgb.source,
                **sources,
                height_band=height_band,
                grid=grid,
                dtype=rgb.info.dtype,
                gsd=gsd,
                datetime=time,
                options=options,
            )
        )


def concurrently_or_not(
    look: Callable[[Entry], Part | Account], entries: Iterable[Entry], *, slow: bool
) -> Iterator[tuple[Entry, Part | Account]]:
    """(entry, what it is) in order; several at once where looking means waiting."""
    if slow:
        entries = list(entries)
        yield from zip(entries, concurrently(look, entries, _AT_ONCE), strict=True)
    else:
        for entry in entries:
            yield entry, look(entry)


def _below(uri: str) -> str:
    """The part of a single file's URI that its image is called by: its name, with its folder where the name is only a role."""
    parts = uri.split("/")
    return "/".join(parts[-2:] if not read_name(uri).key else parts[-1:])


__all__ = ["Account", "Discovery", "InputOptions", "Progress", "RasterImage", "discover"]
