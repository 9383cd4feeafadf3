"""The bytes of a Source as ranges, wherever they lie."""

from __future__ import annotations

from gridscribe.errors import UnreadableError
from gridscribe.ingest.bytesio import LocalRanges, PartRanges, Ranges, check_unchanged
from gridscribe.ingest.cache import CachedRanges
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.remote import RemoteRanges
from gridscribe.ingest.sources import Source
from gridscribe.ingest.targz import SpoolRanges
from gridscribe.ingest.zips import UnpackedMember

_GZIP = b"\x1f\x8b"


def open_bytes(source: Source, limits: Limits) -> Ranges:
    """The bytes of `source`; close them after use.

    Raises ChangedError where it is not what was planned, UnreadableError where it is not there or damaged, RefusedError
    where unpacking it would exceed a limit, StoreError where a store does not answer.
    """
    whole = open_whole(source, limits)
    if source.member is None:
        return whole
    return open_member(source, whole, limits, owned=True)


def open_whole(source: Source, limits: Limits) -> Ranges:
    """The object at `source.uri`: for a member, its archive."""
    if source.remote:
        return CachedRanges(RemoteRanges(source), limits)
    whole = LocalRanges(source.uri)
    try:
        planned = (None if source.member is not None else source.size, source.etag)
        check_unchanged(source.name, planned, (whole.size, whole.etag))
    except BaseException:
        whole.close()
        raise
    return whole


def open_member(source: Source, whole: Ranges, limits: Limits, *, owned: bool) -> Ranges:
    """A member of the archive `whole`; closing it closes the archive where that is `owned`."""
    if source.member is None:
        raise ValueError(f"{source.name} is no member of an archive")
    if source.offset is not None and source.size is not None:
        return PartRanges(whole, source.offset, source.size, source.name, owned=owned)
    try:
        unpack = SpoolRanges if whole.fetch(0, 2) == _GZIP else UnpackedMember
        member = unpack(source.uri, source.member, whole, limits, source.name)
    finally:
        if owned:
            whole.close()
    if source.size is not None and member.size != source.size:
        member.close()
        raise UnreadableError(f"{source.name}: {member.size:,} bytes, its archive's list says {source.size:,}")
    return member
