"""Serves as the function app of the measured process: the real app, with the echo beside its functions.

Both are in one process, so that an invocation of either is interrupted by the same garbage and the same
background work.
"""

from function_app import app
from loadtests.baseline.echo import blueprint

app.register_functions(blueprint)
