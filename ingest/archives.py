"""Archives as lists of members that can be read. What is unsafe or damaged is told, and never unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gridscribe.errors import InputError, RefusedError, UnreadableError
from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.images import Account, Gap
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.members import clean_path, refuse_path
from gridscribe.ingest.pairing import unread
from gridscribe.ingest.sources import Source
from gridscribe.ingest.tar import tar_members
from gridscribe.ingest.targz import acquire, release
from gridscribe.ingest.zips import directory_of

_GZIP, _ZIP, _EMPTY_ZIP = b"\x1f\x8b", b"PK\3\4", b"PK\5\6"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to look at: its bytes, and its path below the input root or in its archive."""

    source: Source
    path: str


def archive_entries(uri: str, whole: Ranges, limits: Limits) -> Iterator[Entry | Account]:
    """The members of an archive, whose kind its first bytes say, in its order; accounts of those that are refused."""
    try:
        magic = whole.fetch(0, 4)
        if not magic:
            raise UnreadableError(f"{uri}: empty (0 bytes)")
        if magic[:2] == _GZIP:
            yield from _tar_gz(uri, whole, limits)
        elif magic in (_ZIP, _EMPTY_ZIP):
            yield from _zip(uri, whole, limits)
        else:
            yield from _tar(uri, whole, limits)
    except InputError as exc:
        yield gap(Source(uri).name, exc)


def _tar(uri: str, whole: Ranges, limits: Limits) -> Iterator[Entry | Account]:
    count = 0
    members = tar_members(whole.fetch)
    while True:
        try:
            member = next(members, None)
        except InputError as exc:
            raise type(exc)(f"{exc}; members after the first {count:,} are not read") from exc
        if member is None:
            return
        count += 1
        if count > limits.max_members:
            raise RefusedError(f"more than {limits.max_members:,} members (limit max_members); the rest is not read")
        if member.kind == "folder":
            continue
        source = Source(uri, member.path, member.offset, member.size, whole.etag)
        refusal = refuse_path(member.path)
        if refusal is None and member.kind != "file":
            refusal = f"it is {member.kind}, not a file"
        if refusal is not None:
            yield failure(source.name, RefusedError(refusal))
        elif member.offset + member.size > whole.size:
            missing = member.offset + member.size - whole.size
            yield gap(source.name, UnreadableError(f"cut short: the archive ends {missing:,} bytes too early"))
        else:
            yield Entry(source, clean_path(member.path))


def _tar_gz(uri: str, whole: Ranges, limits: Limits) -> Iterator[Entry | Account]:
    spool = acquire(uri, whole, limits)
    try:
        last = {path: index for index, (path, _) in enumerate(spool.members)}
        for index, (path, what) in enumerate(spool.members):
            source = Source(uri, path, None, what[1] if isinstance(what, tuple) else None, whole.etag)
            if last[path] != index:
                yield replaced(source.name)
            elif isinstance(what, InputError):
                yield failure(source.name, what)
            else:
                yield Entry(source, clean_path(path))
        if spool.damage is not None:
            count = len(spool.members)
            raise type(spool.damage)(f"{spool.damage}; members after the first {count:,} are not read")
    finally:
        release(spool)


def _zip(uri: str, whole: Ranges, limits: Limits) -> Iterator[Entry | Account]:
    directory = directory_of(uri, whole, limits)
    for member in directory.members:
        info = member.info
        path = clean_path(info.filename)
        source = Source(uri, info.filename, None, info.file_size, whole.etag)
        if directory.by_path[info.filename] is not member:
            yield replaced(source.name)
            continue
        if member.refusal is not None:
            yield failure(source.name, member.refusal)
            continue
        # empty members have nothing to read in place
        if member.stored and info.file_size and not unread(path, documents=limits.documents):
            try:
                offset = directory.data_offset(whole, info)
            except UnreadableError as exc:
                yield failure(source.name, exc)
                continue
            source = Source(uri, info.filename, offset, info.file_size, whole.etag)
        yield Entry(source, path)


def failure(source: str, error: Exception) -> Account:
    """The account of an input that `error` keeps from being processed."""
    return Account(source, "failed", str(error).removeprefix(f"{source}: "), type(error).__name__)


def gap(source: str, error: Exception) -> Gap:
    """The same, where `error` also keeps from knowing what else there is."""
    known = failure(source, error)
    return Gap(known.source, known.state, known.reason, known.error)


def skip(source: str, kind: str, reason: str) -> Account:
    """The account of an input that is passed over on purpose."""
    return Account(source, "skipped", reason, kind)


def replaced(source: str) -> Account:
    """The account of a member whose path comes again later in its archive, where unpacking would overwrite it."""
    return skip(source, "replaced", "a later member of the archive has the same path and replaces it")
