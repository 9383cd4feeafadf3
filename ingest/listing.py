"""From URIs to files: folders, globs, lists, single files, archives and prefixes, as places whose files are paired.

A list's lines and a glob's matches count as files named one by one. Archives met in folders are opened; archives in
archives are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from gridscribe.errors import InputError, RefusedError, UnreadableError, UsageError
from gridscribe.ingest.archives import Entry, archive_entries, failure, gap
from gridscribe.ingest.bytesio import Ranges, local_version
from gridscribe.ingest.images import Account
from gridscribe.ingest.limits import MIB, Limits
from gridscribe.ingest.lists import LIST_SUFFIXES, read_list
from gridscribe.ingest.opening import open_bytes, open_member, open_whole
from gridscribe.ingest.pairing import DOCUMENT_SUFFIXES, RASTER_SUFFIXES, is_archive
from gridscribe.ingest.remote import HTTP_SCHEMES, http_name, list_sources, scheme_of
from gridscribe.ingest.sources import Source
from gridscribe.ingest.stac_items import STAC_SUFFIXES, StacImage, read_items


@dataclass(frozen=True)
class Place:
    """A folder, a prefix, an archive, or all files that were named one by one: files inside pair with each other only."""

    entries: Callable[[], Iterator[Entry | Account]]
    open: Callable[[Entry], Ranges]
    """The bytes of an entry; to be closed."""
    label: str = ""
    """Put before paths for people: "archive.tar!/"."""
    single: bool = False
    """Paths are whole URIs: only their last part goes into names and ids, as input roots differ between machines."""
    slow: bool = False
    """Reading entries waits for a network, one after the other for nothing: several may be read at once."""


@dataclass
class Inputs:
    """The inputs of a job, taken apart in order by `places`."""

    uris: Sequence[str]
    limits: Limits
    singles: list[Entry] = field(default_factory=list)
    archives: list[Entry] = field(default_factory=list)
    problems: list[Account] = field(default_factory=list)

    def places(self) -> Iterator[Place | StacImage | Account]:
        """Everything that the URIs name. Raises UsageError where one leads nowhere."""
        for uri in self.uris:
            yield from self._input(uri, listed=False)
        if self.singles:
            slow = any(entry.source.remote for entry in self.singles)
            yield Place(lambda: iter(self.singles), self._open, single=True, slow=slow)
        opened: set[str] = set()
        for entry in self.archives:
            if entry.source.uri not in opened:
                opened.add(entry.source.uri)
                yield from self._archive(entry)

    def _input(self, uri: str, *, listed: bool) -> Iterator[Place | StacImage | Account]:
        scheme = scheme_of(uri)
        if scheme == "file":
            yield from self._local(uri, listed=listed)
        elif scheme in HTTP_SCHEMES:
            yield from self._file(Entry(Source(uri), f"{uri.split('://', 1)[1].split('?')[0]}"), http_name(uri), listed)
        elif has_magic(uri) and not listed:
            yield from self._remote_glob(uri)
        elif uri.lower().endswith((*RASTER_SUFFIXES, *DOCUMENT_SUFFIXES, *STAC_SUFFIXES, *LIST_SUFFIXES)) or is_archive(
            uri
        ):
            yield from self._file(Entry(Source(uri), uri.split("://", 1)[1]), uri.rpartition("/")[2], listed)
        else:
            archives = len(self.archives)
            found = self._objects(uri)
            if not found and len(self.archives) == archives:
                raise UsageError(f"input {uri!r}: no objects there (a prefix ends at a `/`), or the URI is misspelt")
            yield Place(lambda: iter(found), self._open, slow=True)

    def _local(self, uri: str, *, listed: bool) -> Iterator[Place | StacImage | Account]:
        path = Path(os.path.abspath(Path(uri.removeprefix("file://")).expanduser()))  # noqa: PTH100 - keeps links as named
        if path.is_dir():
            yield Place(lambda: self._folder(path), self._open)
        elif path.exists():
            yield from self._file(self._named(path), path.name, listed)
        else:
            matches = sorted(glob(str(path), recursive=True)) if has_magic(str(path)) else []  # noqa: PTH207 - absolute
            if not matches:
                if has_magic(str(path)):
                    raise UsageError(f"input {uri!r}: nothing matches")
                raise UsageError(f"input {uri!r}: no such file or folder")
            for match in map(Path, matches):
                if match.is_file():
                    self._sort_in(self._named(match), match.name)

    def _file(self, entry: Entry, name: str, listed: bool) -> Iterator[Place | StacImage | Account]:
        """One file that was named: a list or STAC document is read, unless it stands in a list itself."""
        low = name.lower()
        if low.endswith(LIST_SUFFIXES) and not listed:
            yield from self._list(entry, name)
        elif low.endswith(STAC_SUFFIXES):
            yield from read_items(entry.source.name, entry.source.uri, self._document(entry))
        else:
            self._sort_in(entry, name)

    def _list(self, entry: Entry, name: str) -> Iterator[Place | StacImage | Account]:
        local = not entry.source.remote
        for line in read_list(name, self._document(entry)):
            # a relative path is meant from where the list lies
            uri = str(Path(entry.source.uri).parent / line) if local and scheme_of(line) == "file" else line
            if not local and scheme_of(uri) == "file":
                yield failure(uri, RefusedError(f"a list that is not local ({entry.source.name}) names a local file"))
                continue
            try:
                yield from self._input(uri, listed=True)
            except (UsageError, InputError) as exc:
                yield failure(uri, UnreadableError(str(exc)))

    def _document(self, entry: Entry) -> bytes:
        """All bytes of a list or STAC document."""
        try:
            ranges = open_bytes(entry.source, self.limits)
        except InputError as exc:
            raise UsageError(str(exc)) from exc
        try:
            if ranges.size > self.limits.max_document:
                raise UsageError(
                    f"{entry.source.name}: {ranges.size / MIB:,.0f} MiB (limit max_document: "
                    f"{self.limits.max_document // MIB} MiB): split it"
                )
            return ranges.fetch(0, ranges.size)
        finally:
            ranges.close()

    def _sort_in(self, entry: Entry, name: str) -> None:
        (self.archives if is_archive(name) else self.singles).append(entry)

    def _named(self, path: Path) -> Entry:
        size, etag = local_version(str(path))
        return Entry(Source(str(path), size=size, etag=etag), str(path))

    def _folder(self, root: Path) -> Iterator[Entry | Account]:
        """Files below `root` in the order of their paths; archives are put aside for later. Links to folders are not
        followed, as they may lead round in circles."""
        count, start = 0, len(str(root).rstrip(os.sep)) + 1
        for folder, folders, files in os.walk(root, onerror=self._note):
            folders.sort()
            for name in sorted(files):
                count += 1
                if count > self.limits.max_members:
                    yield gap(str(root), RefusedError(f"more than {self.limits.max_members:,} files (max_members)"))
                    return
                path = f"{folder}{os.sep}{name}"
                try:
                    path.encode()
                    size, etag = local_version(path)
                except UnicodeEncodeError:
                    shown = path.encode("utf-8", "backslashreplace").decode()
                    yield failure(shown, UnreadableError("its name is not UTF-8: rename it"))
                    continue
                except InputError as exc:
                    yield failure(path, exc)
                    continue
                entry = Entry(Source(path, None, None, size, etag), path[start:].replace(os.sep, "/"))
                if is_archive(name):
                    self.archives.append(entry)
                else:
                    yield entry
            yield from self._noted()

    def _note(self, error: OSError) -> None:
        self.problems.append(gap(str(error.filename), UnreadableError(f"cannot be listed: {error.strerror}")))

    def _noted(self) -> Iterator[Account]:
        while self.problems:
            yield self.problems.pop()

    def _objects(self, uri: str) -> list[Entry]:
        """Objects below a prefix in the order of their keys; archives are put aside."""
        entries: list[Entry] = []
        for key, source in sorted(list_sources(uri)):
            if len(entries) >= self.limits.max_members:
                raise UsageError(f"input {uri!r}: more than {self.limits.max_members:,} objects (limit max_members)")
            entry = Entry(source, key)
            if is_archive(key):
                self.archives.append(entry)
            elif not key.endswith("/"):
                entries.append(entry)
        return entries

    def _remote_glob(self, uri: str) -> Iterator[Place | StacImage | Account]:
        scheme, rest = uri.split("://", 1)
        parts = rest.split("/")
        fixed = next(index for index, part in enumerate(parts) if has_magic(part))
        if fixed == 0:
            raise UsageError(f"input {uri!r}: a bucket's name cannot be a pattern")
        root, pattern = f"{scheme}://{'/'.join(parts[:fixed])}", _glob_pattern(parts[fixed:])
        matches = [(key, source) for key, source in sorted(list_sources(root)) if pattern.fullmatch(key)]
        if not matches:
            raise UsageError(f"input {uri!r}: nothing matches")
        for _, source in matches:
            self._sort_in(Entry(source, source.uri.split("://", 1)[1]), source.uri)
        yield from ()

    def _archive(self, entry: Entry) -> Iterator[Place | Account]:
        source = entry.source
        try:
            whole = open_whole(source, self.limits)
        except InputError as exc:
            yield failure(source.name, exc)
            return
        try:
            yield Place(
                lambda: archive_entries(source.uri, whole, self.limits),
                lambda member: open_member(member.source, whole, self.limits, owned=False),
                label=f"{(http_name(source.uri) if scheme_of(source.uri) in HTTP_SCHEMES else Path(source.uri).name)}!/",
            )
        finally:
            whole.close()

    def _open(self, entry: Entry) -> Ranges:
        return open_bytes(entry.source, self.limits)


def _glob_pattern(parts: list[str]) -> re.Pattern[str]:
    """A shell pattern over the parts of a key: `*` and `?` stay inside a part, `**` stands for any number of parts."""
    text = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:[^/]+/)*"
            continue
        for token in re.findall(r"\*+|\?|\[!?[^\]]+\]|.", part):
            if token.startswith("*"):
                text += "[^/]*"
            elif token == "?":
                text += "[^/]"
            elif len(token) > 1:
                inside = token[1:-1]
                text += f"[^{re.escape(inside[1:])}/]" if inside[0] == "!" else f"[{inside.replace(chr(92), '')}]"
            else:
                text += re.escape(token)
        text += "" if last else "/"
    return re.compile(text)
