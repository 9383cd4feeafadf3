"""gridscribe: masks, embeddings and pixel answers from archives of RGB + height rasters and document pages.

Importing this package loads neither torch nor ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__", "submit"]

if TYPE_CHECKING:
    from gridscribe.client import Client
    from gridscribe.workers.submit import submit


def __getattr__(name: str) -> Any:
    if name == "Client":
        from gridscribe.client import Client

        return Client
    if name == "submit":
        from gridscribe.workers.submit import submit

        return submit
    raise AttributeError(f"module 'gridscribe' has no attribute {name!r}")
