"""Reads how a caller wants a body with bad items to be handled: the header Prefer.

https://www.rfc-editor.org/rfc/rfc7240 (section 4.4 has `handling`)
"""

import re
from typing import Any, Literal

# strict: a bad item refuses the whole body. lenient, the default: the good items are accepted.
Handling = Literal["strict", "lenient"]

# One preference with its parameters: all up to a comma that is not in quotes.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')

PREFER: dict[str, Any] = {
    "name": "prefer",
    "in": "header",
    "description": (
        "`handling=strict` refuses the whole body if one item is bad. Without it, or with "
        "`handling=lenient`, the good items are accepted, and the answer names the refused ones. The answer "
        "repeats the applied preference as `Preference-Applied`. Other preferences are ignored (RFC 7240)."
    ),
    "schema": {"type": "string"},
    "example": "handling=strict",
}


def handling_of(prefer: str | None) -> Handling | None:
    """The handling that the header asks for; None for none, and for one that RFC 7240 does not know.

    Names and values may have any case, and blanks around them. Of a repeated preference, the first counts.
    """
    for preference in _PREFERENCE.findall(prefer or ""):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            match value.strip().strip('"').lower():
                case "strict":
                    return "strict"
                case "lenient":
                    return "lenient"
            return None
    return None


def applied(handling: Handling | None) -> dict[str, str]:
    """The header that tells the caller that its preference was applied."""
    return {} if handling is None else {"preference-applied": f"handling={handling}"}
