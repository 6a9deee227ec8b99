"""``python -m colorcv`` is the command ``colorcv``."""

import sys

from .cli import main

sys.exit(main())
