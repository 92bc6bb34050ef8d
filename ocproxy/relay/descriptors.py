"""File descriptors: a stream needs two, and the usual soft limit of 1,024 would end at 500 streams."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

# macOS refuses the "unlimited" that it reports as its hard limit; this it takes (OPEN_MAX of its <sys/syslimits.h>).
_OPEN_MAX = 10_240


def raise_limit() -> None:
    """Raise the soft limit of this process to the hard one. A worker starts no programs, which might close each number
    up to the limit, and does not use select(), which ends at 1,024."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _OPEN_MAX):
        if soft == wanted or (soft != resource.RLIM_INFINITY and 0 <= wanted < soft):
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def shortage(error: Exception) -> str:
    """What to tell the user when `error` says that there are no descriptors left; "" when it says something else."""
    number = getattr(error, "errno", None)
    if number == errno.ENFILE:
        return "this machine has no file descriptors left (fs.file-max)"
    if number != errno.EMFILE:
        return ""
    limit = "" if sys.platform == "win32" else f" ({resource.getrlimit(resource.RLIMIT_NOFILE)[1]})"
    return f"ocproxy's relay worker has used up its file descriptors{limit}; raise the limit (ulimit -Hn) or --workers"
