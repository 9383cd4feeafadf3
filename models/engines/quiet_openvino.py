"""OpenVINO without its telemetry.

Importing `openvino` as installed starts a thread that reports the import, and each conversion later, to a server of its maker,
unless a file in the user's home says otherwise. Who runs a job here has not been asked, and may have no way out to the
network. Without the package `openvino_telemetry` it uses a stub of its own instead, so the package is hidden from it.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it raises ImportError

import openvino as ov  # noqa: E402 - see above

__all__ = ["ov"]
