"""`python -m mrp` is the command `mrp`."""

import sys

from mrp._command import main

sys.exit(main())
