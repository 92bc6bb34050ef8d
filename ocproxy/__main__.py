"""`python -m ocproxy`."""

from __future__ import annotations

import sys

from ocproxy.cli import interruption

interruption.end_at_once()  # before the imports, which take a moment that a person may use to think better of it

from ocproxy.cli import app  # noqa: E402


def main() -> None:
    """The console script `ocproxy`."""
    sys.exit(app.main())


if __name__ == "__main__":
    main()
