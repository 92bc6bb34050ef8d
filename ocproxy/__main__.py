"""`python -m ocproxy`."""

from __future__ import annotations

import sys

from ocproxy.cli import app


def main() -> None:
    """The console script `ocproxy`."""
    sys.exit(app.main())


if __name__ == "__main__":
    main()
