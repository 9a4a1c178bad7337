"""``python -m heddle``: the command without its entry point."""

import sys

from heddle.main import main

if __name__ == "__main__":
    sys.exit(main())
