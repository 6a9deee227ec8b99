"""``python -m colorcv`` runs the command ``colorcv``."""

import sys

from .cli import main

sys.exit(main())
