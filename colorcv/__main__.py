"""``python -m colorcv`` runs the command ``colorcv``."""

import sys

from .cli.parser import main

sys.exit(main())
