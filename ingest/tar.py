"""The members of a tar archive: one pass over its headers, 512 bytes at a time, nothing unpacked.

Reads ustar, GNU (long names, base-256 sizes) and pax (POSIX.1-2001: path, size) archives. Python's own module stops without a
word at a damaged header in the middle; here every byte up to the end mark is accounted for, or the reader is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gridscribe.errors import UnreadableError
from gridscribe.ingest.limits import MIB

BLOCK = 512
MAX_META = 1 * MIB  # long names and pax records of one member
_ZEROS = bytes(BLOCK)
_SPACES = sum(b" " * 8)
_KINDS = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "folder",
    b"6": "a named pipe",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member: where its bytes lie in the tar stream."""

    path: str
    kind: str
    """ "file", "folder", or what else it is, with its article."""
    offset: int
    size: int


def tar_members(fetch: Callable[[int, int], bytes]) -> Iterator[TarMember]:
    """Members in the order of the archive. `fetch(start, length)` gives bytes of the stream, fewer at its end.

    Raises UnreadableError where a header is damaged or the archive ends inside a header; members before it have been given.
    """
    at = 0
    long_path: str | None = None
    pax: dict[str, str] = {}
    while True:
        header = fetch(at, BLOCK)
        if header == _ZEROS or (not header and at):
            return
        if len(header) < BLOCK:
            raise UnreadableError(f"the archive is cut short: it ends inside the header at byte {at:,}")
        if not _checksum_holds(header):
            raise UnreadableError(f"the archive is damaged: no tar header at byte {at:,}")
        flag = header[156:157]
        size = _number(header[124:136], at)
        data = at + BLOCK
        if flag in (b"L", b"K", b"x", b"g", b"X"):
            if size > MAX_META:
                raise UnreadableError(
                    f"the archive is damaged: {size:,} bytes of names at byte {at:,} (at most {MAX_META:,})"
                )
            body = fetch(data, size)
            if len(body) < size:
                raise UnreadableError(f"the archive is cut short: it ends inside the names at byte {at:,}")
            if flag == b"L":
                long_path = _text(body.split(b"\0", 1)[0])
            elif flag in (b"x", b"X"):
                pax = _pax(body)
        else:
            path = pax.get("path") or long_path or _ustar_path(header)
            if "size" in pax:
                size = int(pax["size"]) if pax["size"].isdigit() else size
            kind = _KINDS.get(flag, f"of an unknown type {flag!r}")
            if any(key.startswith("GNU.sparse") for key in pax):
                kind = "a sparse file"
            if kind == "file" and path.endswith("/"):
                kind = "folder"
            if kind not in ("file", "a sparse file", "folder") and flag in b"123456":
                size = 0  # links and devices carry no data, whatever their size field says
            yield TarMember(path, kind, data, 0 if kind == "folder" else size)
            long_path, pax = None, {}
        at = data + -(-size // BLOCK) * BLOCK


def _checksum_holds(header: bytes) -> bool:
    """The sum of all bytes with the checksum's own taken as spaces; some old writers summed signed bytes."""
    try:
        stated = int(header[148:156].split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return False
    plain = sum(header) - sum(header[148:156]) + _SPACES
    return stated == plain or stated == plain - 256 * sum(b > 127 for b in header[:148] + header[156:])


def _number(field: bytes, at: int) -> int:
    """Octal text, or base 256 where the first bit is set (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        value = int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        value = -1
    if value < 0:
        raise UnreadableError(f"the archive is damaged: size {field!r} in the header at byte {at:,}")
    return value


def _ustar_path(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # names of an unknown old encoding: readable, and distinct where the bytes are


_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")


def _pax(body: bytes) -> dict[str, str]:
    """Records `length key=value\\n` (POSIX pax)."""
    found: dict[str, str] = {}
    at = 0
    while at < len(body) and body[at]:
        match = _RECORD.match(body, at)
        length = int(match[1]) if match else 0
        if match is None or length < len(match[0]) + 1 or at + length > len(body):
            raise UnreadableError("the archive is damaged: a pax header that is no list of records")
        found[_text(match[2])] = _text(body[match.end() : at + length - 1])
        at += length
    return found
