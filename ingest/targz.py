"""tar.gz: decompressed once to scratch by a process, and kept there while anything reads it.

One pass over the stream finds the members and copies the rasters among them into one spool file; a member is then a
byte range of that file. Everything is bounded while it happens, since a compressed stream says nothing reliable about
what it will become: the spool by `max_scratch`, the stream by `max_stream`, each member by `max_ratio`.
"""

from __future__ import annotations

import gzip
import io
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gridscribe.errors import InputError, RefusedError, UnreadableError
from gridscribe.ingest.bytesio import LocalRanges, PartRanges, RangeFile, Ranges
from gridscribe.ingest.limits import GIB, MIB, Limits
from gridscribe.ingest.members import clean_path, refuse_path
from gridscribe.ingest.pairing import unread
from gridscribe.ingest.scratch import SCRATCH
from gridscribe.ingest.tar import tar_members

_CHUNK = 1 * MIB


@dataclass
class Spool:
    """What one tar.gz became: a file in scratch with its rasters, and a list of all its members in order."""

    path: Path
    name: str
    members: list[tuple[str, tuple[int, int] | InputError | None]] = field(default_factory=list)
    """(path in the archive, its range in the spool | why it is refused | None: by its name not a raster)."""
    damage: InputError | None = None
    """Why members may be missing at the end."""
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    reserved: int = 0
    users: int = 0

    def discard(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        SCRATCH.release(self.reserved)
        self.reserved = 0


_spools: OrderedDict[tuple[str, str | None, bool], Spool] = OrderedDict()
_spools_lock = threading.RLock()  # held while decompressing: two readers of one archive wait for one pass


def acquire(uri: str, whole: Ranges, limits: Limits) -> Spool:
    """The spool of the tar.gz at `uri`, made now where this process has none; `release` it after use."""
    key = (uri, whole.etag, limits.documents)
    with _spools_lock:
        spool = _spools.get(key)
        if spool is None:
            spool = _unpack(uri, whole, limits)
            _spools[key] = spool
        _spools.move_to_end(key)
        spool.users += 1
        return spool


def release(spool: Spool) -> None:
    """Let go of a spool. It stays until scratch is needed for another one, or the process ends."""
    with _spools_lock:
        spool.users -= 1


def _drop_idle() -> bool:
    with _spools_lock:
        for key, spool in _spools.items():
            if spool.users == 0:
                del _spools[key]
                spool.discard()
                return True
    return False


SCRATCH.make_room = _drop_idle


class SpoolRanges(PartRanges):
    """One member, in the spool of its archive, which stays as long as this is open."""

    def __init__(self, uri: str, member: str, whole: Ranges, limits: Limits, name: str) -> None:
        self._spool: Spool | None = acquire(uri, whole, limits)
        place = self._spool.places.get(member)
        if place is None:
            release(self._spool)
            raise UnreadableError(f"{name}: the archive holds no such raster")
        super().__init__(LocalRanges(str(self._spool.path), name), *place, name, owned=True)
        self.etag = whole.etag

    def verify(self) -> None:
        """The spool is ours: nobody changes it."""

    def close(self) -> None:
        """Let go of the spool."""
        if self._spool is not None:
            super().close()
            release(self._spool)
            self._spool = None


class _Forward:
    """A decompressed stream that is read once, forwards, by position."""

    def __init__(self, whole: Ranges, limits: Limits) -> None:
        self._packed = RangeFile(whole)
        self._stream = gzip.GzipFile(fileobj=io.BufferedReader(self._packed, 256 << 10), mode="rb")
        self._limits = limits
        self.position = 0

    @property
    def packed_position(self) -> int:
        """Compressed bytes taken in so far, to within a buffer."""
        return self._packed.tell()

    def read(self, length: int) -> bytes:
        """The next `length` bytes, fewer at the end of the stream."""
        parts = []
        while length > 0:
            try:
                data = self._stream.read(min(length, _CHUNK))
            except EOFError as exc:
                raise UnreadableError("the archive is cut short: its gzip stream ends before its end mark") from exc
            except (gzip.BadGzipFile, zlib.error) as exc:
                raise UnreadableError(f"the archive is damaged: {exc}") from exc
            if not data:
                break
            parts.append(data)
            length -= len(data)
            self.position += len(data)
            if self.position > self._limits.max_stream:
                raise RefusedError(
                    f"the archive decompresses to more than {self._limits.max_stream / GIB:,.0f} GiB (limit max_stream): "
                    "repack it as plain tar, which is read in place"
                )
        return b"".join(parts)

    def skip_to(self, position: int) -> None:
        """Decompress and forget up to `position`."""
        while self.position < position and self.read(min(_CHUNK, position - self.position)):
            pass

    def fetch(self, start: int, length: int) -> bytes:
        """For `tar_members`: bytes from `start`, which is never behind."""
        self.skip_to(start)
        return self.read(length)


def _unpack(uri: str, whole: Ranges, limits: Limits) -> Spool:
    spool = Spool(SCRATCH.new_file(), uri)
    try:
        with spool.path.open("xb") as out:
            try:
                _copy_members(uri, _Forward(whole, limits), spool, out, limits)
            except InputError as exc:
                spool.damage = exc
    except BaseException:
        spool.discard()
        raise
    return spool


def _copy_members(uri: str, stream: _Forward, spool: Spool, out: BinaryIO, limits: Limits) -> None:
    for count, member in enumerate(tar_members(stream.fetch)):
        if count >= limits.max_members:
            raise RefusedError(f"more than {limits.max_members:,} members (limit max_members)")
        if member.kind == "folder":
            continue
        refusal = refuse_path(member.path)
        if refusal is None and member.kind != "file":
            refusal = f"it is {member.kind}, not a file"
        if refusal is not None:
            spool.members.append((member.path, RefusedError(refusal)))
            continue
        if unread(clean_path(member.path), documents=limits.documents):
            spool.members.append((member.path, None))
            continue
        try:
            SCRATCH.reserve(member.size, limits.max_scratch, f"{uri}!/{member.path}")
        except RefusedError as exc:
            spool.members.append((member.path, exc))
            continue
        spool.reserved += member.size
        start = out.tell()
        try:
            _copy(stream, member.offset, member.size, out, limits)
        except InputError as exc:
            out.truncate(start)
            out.seek(start)
            SCRATCH.release(member.size)
            spool.reserved -= member.size
            spool.members.append((member.path, exc))
            if not isinstance(exc, RefusedError) or stream.position > limits.max_stream:
                raise
            continue
        spool.members.append((member.path, (start, member.size)))
        spool.places[member.path] = (start, member.size)


def _copy(stream: _Forward, offset: int, size: int, out: BinaryIO, limits: Limits) -> None:
    stream.skip_to(offset)
    packed_before, done = stream.packed_position, 0
    while done < size:
        data = stream.read(min(_CHUNK, size - done))
        if not data:
            raise UnreadableError("cut short: the archive ends inside it")
        done += len(data)
        packed = max(1, stream.packed_position - packed_before)
        if done > limits.ratio_floor and done > limits.max_ratio * packed:
            raise RefusedError(
                f"a decompression bomb by its ratio: {done / MIB:,.0f} MiB from {packed / MIB:,.2f} (limit max_ratio: "
                f"{limits.max_ratio:g}): if it is sound, repack it as plain tar"
            )
        out.write(data)
