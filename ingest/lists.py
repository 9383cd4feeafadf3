"""Lists of input URIs: text, CSV or Parquet."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq

from gridscribe.errors import UsageError

LIST_SUFFIXES = (".txt", ".csv", ".parquet")
COLUMN = "uri"


def read_list(name: str, data: bytes) -> list[str]:
    """The URIs that a list holds, in order. Raises UsageError where it cannot be read.

    Text: one a line; empty lines and lines that begin with `#` are passed over. CSV and Parquet: the column `uri`, or the first
    one; a first line of a CSV whose first cell has neither `/` nor `.` is taken for its header.
    """
    try:
        if name.lower().endswith(".parquet"):
            return _parquet(name, data)
        text = data.decode("utf-8-sig")
    except (UnicodeDecodeError, pa.ArrowInvalid) as exc:
        raise UsageError(f"{name}: cannot be read as a list of URIs: {exc}") from exc
    if name.lower().endswith(".csv"):
        return _csv(text)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _csv(text: str) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row and any(cell.strip() for cell in row)]
    if not rows:
        return []
    header = [cell.strip().casefold() for cell in rows[0]]
    column = header.index(COLUMN) if COLUMN in header else 0
    if COLUMN in header or not {"/", "."} & set(rows[0][0]):
        rows = rows[1:]
    return [row[column].strip() for row in rows if len(row) > column and row[column].strip()]


def _parquet(name: str, data: bytes) -> list[str]:
    file = pq.ParquetFile(pa.BufferReader(data))
    names = file.schema_arrow.names
    if not names:
        raise UsageError(f"{name}: a Parquet file without columns")
    column = file.read(columns=[COLUMN if COLUMN in names else names[0]]).column(0)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UsageError(f"{name}: column {names[0]!r} holds {column.type}, expected text: name the column {COLUMN!r}")
    return [value for value in column.to_pylist() if value]
