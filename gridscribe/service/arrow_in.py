"""Points that come as an Arrow stream, from somebody who may mean harm: how large they are is known before they are unpacked."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import QueryError

WANTED = "the body is no Arrow stream with columns x and y of numbers"


def points_of(body: bytes, most: int) -> NDArray[np.float64]:
    """[n, 2] of the columns x and y. `QueryError` for anything else, for compressed batches, and for more than `most` points.

    A compressed batch may be thousands of times as large as it comes; the 16 bytes of a point gain little by it.
    """
    import pyarrow as pa

    try:
        reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
        first = _next(reader)
        if first is None or first.type != "schema":
            raise QueryError(f"{WANTED}: it has no schema")
        schema = pa.ipc.read_schema(first)
        fields = {field.name: field.type for field in schema}
        if sorted(fields) != ["x", "y"] or not all(map(_is_number, fields.values())):
            raise QueryError(f"{WANTED}: it has {', '.join(list(fields)[:8])[:200] or 'none'}")
        parts, rows = [], 0
        while (message := _next(reader)) is not None:
            if message.type != "record batch":
                raise QueryError(f"{WANTED}: it holds a message of {message.type}")
            count, compressed = _batch_facts(bytes(message.metadata))
            rows += count
            if compressed:
                raise QueryError(
                    "the Arrow stream is compressed: points are taken plain, with IpcWriteOptions(compression=None)"
                )
            if rows > most:
                raise too_many(rows, most)
            batch = pa.ipc.read_record_batch(message, schema)
            batch.validate(full=True)
            parts.append(
                np.stack([batch[name].cast("float64").to_numpy(zero_copy_only=False) for name in "xy"], axis=1)
            )
    except (pa.ArrowException, ValueError, KeyError, OSError, EOFError, MemoryError, struct.error, IndexError) as error:
        raise QueryError(f"{WANTED} ({str(error)[:200]})") from error
    return np.concatenate([np.empty((0, 2)), *parts])


def too_many(count: int, most: int) -> QueryError:
    """The refusal of more than `most` points."""
    return QueryError(f"{count} points at once: at most {most} are answered, ask in parts")


def _next(reader: Any) -> Any:
    try:
        return reader.read_next_message()
    except StopIteration:
        return None


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _batch_facts(metadata: bytes) -> tuple[int, bool]:
    """(rows, whether it is compressed) of a record batch, from its flatbuffer (Arrow's format/Message.fbs).

    `Message.header`, its third field, is a `RecordBatch`, whose first field is `length` and whose fourth is `compression`.
    """
    message = _Table(metadata, struct.unpack_from("<I", metadata, 0)[0])
    header = message.field(2)
    if header is None:
        raise ValueError("a message without header")
    batch = _Table(metadata, header + struct.unpack_from("<I", metadata, header)[0])
    length = batch.field(0)
    rows = 0 if length is None else struct.unpack_from("<q", metadata, length)[0]
    if rows < 0:
        raise ValueError(f"a batch of {rows} rows")
    return rows, batch.field(3) is not None


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - struct.unpack_from("<i", data, at)[0]

    def field(self, number: int) -> int | None:
        """Where a field lies; None where it has its default."""
        size = struct.unpack_from("<H", self._data, self._fields)[0]
        place = 4 + 2 * number
        if place + 2 > size:
            return None
        offset = struct.unpack_from("<H", self._data, self._fields + place)[0]
        return self._at + offset if offset else None
