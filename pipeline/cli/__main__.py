"""`python -m pipeline.cli` is the command `ratewright`."""

from pipeline.cli import main

main()
