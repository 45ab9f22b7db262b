"""Runs the command: `python -m infra.cost --stack prod --users 1000`."""

import sys

from infra.cost.command import main

sys.exit(main(sys.argv[1:]))
