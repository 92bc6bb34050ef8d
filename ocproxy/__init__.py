"""ocproxy: a flight recorder for coding agents.

`OpencodeSessionService` is here for programs that store sessions by hand. It is imported when it is asked for: the
database costs 0.3 s and the relay needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocproxy.store.session_service import OpencodeSessionService as OpencodeSessionService

__version__ = "0.1.0"
__all__ = ["OpencodeSessionService", "__version__"]

_LATER = {"OpencodeSessionService": "ocproxy.store.session_service"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
