"""The functions of the real app, indexed once: azure-functions refuses to index an app a second time."""

from functools import cache
from typing import Any

import function_app


@cache
def functions() -> dict[str, Any]:
    """Every function by name, as azure-functions indexed it."""
    return {str(each.get_function_name()): each for each in function_app.app.get_functions()}
