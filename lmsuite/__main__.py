"""``python -m lmsuite`` is ``lm``."""

from lmsuite.cli.app import main

main()
