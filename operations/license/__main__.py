"""Runs the command."""

import sys

from operations.license.command import main

sys.exit(main())
