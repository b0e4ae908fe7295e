"""The command line of a broker with a planted bug: ``python -m tests.faults.soak.broken_broker BUG serve``."""

from __future__ import annotations

import sys

from app.cli.__main__ import main
from tests.faults.soak.planted_bugs import BUGS

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)].plant()
    main()
