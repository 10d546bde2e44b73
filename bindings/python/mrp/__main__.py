"""`python -m mrp` is the command `mrp`."""

import sys

from mrp._command import main

if __name__ == "__main__":
    sys.exit(main())
