"""zip: stored members are read in place, compressed ones through bounded scratch, one at a time."""

from __future__ import annotations

import io
import stat
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from gridscribe.errors import InputError, RefusedError, UnreadableError
from gridscribe.ingest.bytesio import LocalRanges, RangeFile, Ranges
from gridscribe.ingest.limits import MIB, Limits
from gridscribe.ingest.members import refuse_path
from gridscribe.ingest.scratch import SCRATCH

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 1 * MIB
_KEPT = 4  # directories of archives that a process keeps: reading one again costs a fetch of all of it


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member as the central directory states it."""

    info: zipfile.ZipInfo
    refusal: InputError | None

    @property
    def stored(self) -> bool:
        """Whether it lies in the archive as it is."""
        return self.info.compress_type == zipfile.ZIP_STORED


class ZipDirectory:
    """The central directory of a zip archive."""

    def __init__(self, whole: Ranges, limits: Limits) -> None:
        """Raises UnreadableError where there is none, RefusedError where it has too many members."""
        self._name = whole.name
        try:
            # read-only, and given a raw file: zipfile seeks and reads what it needs
            with zipfile.ZipFile(io.BufferedReader(RangeFile(whole), 256 << 10)) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, EOFError) as exc:
            raise UnreadableError(f"{whole.name}: damaged or cut short: {exc}") from exc
        if len(infos) > limits.max_members:
            raise RefusedError(f"{whole.name}: {len(infos):,} members (limit max_members: {limits.max_members:,})")
        overlapping = _overlapping(infos)
        self.members = [ZipMember(info, _refusal(info, overlapping, limits)) for info in infos if not info.is_dir()]
        # where a path comes twice, the last one holds, as unpacking would leave it
        self.by_path = {member.info.filename: member for member in self.members}

    def data_offset(self, whole: Ranges, info: zipfile.ZipInfo) -> int:
        """First byte of a member's data, which its local header knows. Raises UnreadableError."""
        header = whole.fetch(info.header_offset, _LOCAL_HEADER.size)
        name = f"{self._name}!/{info.filename}"
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
            raise UnreadableError(f"{name}: damaged: no zip header where the archive's directory says")
        fields = _LOCAL_HEADER.unpack(header)
        if fields[3] != info.compress_type:
            raise UnreadableError(f"{name}: damaged: its header and the archive's directory state different methods")
        offset = int(info.header_offset + _LOCAL_HEADER.size + fields[9] + fields[10])
        if offset + info.compress_size > whole.size:
            raise UnreadableError(f"{name}: cut short: its bytes reach past the end of the archive")
        return offset


_directories: OrderedDict[tuple[str, str | None], ZipDirectory] = OrderedDict()
_directories_lock = threading.Lock()


def directory_of(uri: str, whole: Ranges, limits: Limits) -> ZipDirectory:
    """The central directory of the archive at `uri`, remembered for the next member."""
    key = (uri, whole.etag)
    with _directories_lock:
        directory = _directories.get(key)
        if directory is None:
            directory = _directories[key] = ZipDirectory(whole, limits)
        _directories.move_to_end(key)
        while len(_directories) > _KEPT:
            _directories.popitem(last=False)
        return directory


class UnpackedMember(LocalRanges):
    """A compressed member, decompressed into scratch; closing it deletes that."""

    def __init__(self, uri: str, member: str, whole: Ranges, limits: Limits, name: str) -> None:
        directory = directory_of(uri, whole, limits)
        found = directory.by_path.get(member)
        if found is None:
            raise UnreadableError(f"{name}: the archive holds no such member")
        if found.refusal is not None:
            raise type(found.refusal)(f"{name}: {found.refusal}")
        info = found.info
        offset = directory.data_offset(whole, info)
        SCRATCH.reserve(info.file_size, limits.max_scratch, name)
        self._reserved = info.file_size
        self._file: Path | None = SCRATCH.new_file()
        try:
            _inflate(info, whole, offset, self._file, name)
            super().__init__(str(self._file), name)
        except BaseException:
            self._discard()
            raise
        self.etag = whole.etag

    def verify(self) -> None:
        """The copy is ours: nobody changes it."""

    def close(self) -> None:
        """Delete the copy."""
        super().close()
        self._discard()

    def _discard(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            SCRATCH.release(self._reserved)
            self._file = None


def _inflate(info: zipfile.ZipInfo, whole: Ranges, offset: int, path: Path, name: str) -> None:
    """Decompress one deflated member to `path`, never writing more than it states. Raises where it states wrongly."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    at, end, done, crc = offset, offset + info.compress_size, 0, 0
    with path.open("xb") as out:
        while not inflater.eof:
            packed = inflater.unconsumed_tail
            if not packed:
                packed = whole.fetch(at, min(_CHUNK, end - at))
                at += len(packed)
            try:
                data = inflater.decompress(packed, _CHUNK)
            except zlib.error as exc:
                raise UnreadableError(f"{name}: damaged: {exc}") from exc
            if not data and not packed:
                break
            done += len(data)
            if done > info.file_size:
                raise RefusedError(f"{name}: holds more than the {info.file_size:,} bytes that it states")
            crc = zlib.crc32(data, crc)
            out.write(data)
    if done != info.file_size or crc != info.CRC:
        raise UnreadableError(
            f"{name}: damaged: {done:,} bytes with checksum {crc:08x}, its archive states {info.file_size:,} with "
            f"{info.CRC:08x}"
        )


def _refusal(info: zipfile.ZipInfo, overlapping: set[int], limits: Limits) -> InputError | None:
    reason = refuse_path(info.filename)
    mode = info.external_attr >> 16
    if reason is None and mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither file nor folder"
        reason = f"it is {kind}"
    if reason is None and info.flag_bits & 0x1:
        reason = "it is encrypted"
    if reason is None and info.compress_type not in _METHODS:
        reason = f"its compression method is not read (number {info.compress_type}): repack it stored, or with deflate"
    if reason is None and info.header_offset in overlapping:
        reason = "its bytes overlap another member's, as in decompression bombs"
    if reason is None and info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        reason = f"stored, but {info.compress_size:,} bytes for {info.file_size:,}"
    ratio = info.file_size / max(1, info.compress_size)
    if reason is None and info.file_size > limits.ratio_floor and ratio > limits.max_ratio:
        reason = (
            f"a decompression bomb by its ratio: {info.file_size / MIB:,.0f} MiB from "
            f"{info.compress_size / MIB:,.2f} (limit max_ratio: {limits.max_ratio:g}): if it is sound, repack it as plain tar"
        )
    return None if reason is None else RefusedError(reason)


def _overlapping(infos: list[zipfile.ZipInfo]) -> set[int]:
    """Header offsets of members whose ranges overlap (at least header and data long)."""
    found: set[int] = set()
    ordered = sorted(infos, key=lambda info: info.header_offset)
    reach, owner = 0, -1
    for info in ordered:
        if info.header_offset < reach:
            found |= {owner, info.header_offset}
        end = info.header_offset + _LOCAL_HEADER.size + len(info.filename) + info.compress_size
        if end > reach:
            reach, owner = end, info.header_offset
    return found
