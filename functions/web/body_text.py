"""Unpacks the body of a request, and refuses texts that are not UTF-8.

Content codings are those of RFC 9110, section 8.4.1: gzip, and deflate, which some clients send without its
zlib header.
"""

import re
import zlib

from shared.errors import BodyTooLarge, MalformedJson, UnsupportedMediaType

ACCEPTED_CODINGS = "gzip, deflate"
_GZIP = zlib.MAX_WBITS | 16
_RAW_DEFLATE = -zlib.MAX_WBITS
# A member of a gzip file has at least 20 bytes and costs more time than them. Clients send one.
_MAX_MEMBERS = 16
_UTF_8 = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)
_UTF_8_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = ((b"\xff\xfe", "UTF-16 or UTF-32"), (b"\xfe\xff", "UTF-16"), (b"\0\0\xfe\xff", "UTF-32"))


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """Returns `body` without its content coding, at most `most` bytes of it.

    Raises UnsupportedMediaType for other or several codings, BodyTooLarge, and MalformedJson if the bytes do
    not have the coding.
    """
    if not body:
        return body
    match coding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflated(body, "gzip", _GZIP, most)
        case "deflate":
            return _inflated(
                body, "deflate", zlib.MAX_WBITS if _has_zlib_header(body) else _RAW_DEFLATE, most
            )
        case _:
            raise UnsupportedMediaType(
                f"Send the body as it is, or with one content coding of {ACCEPTED_CODINGS}; "
                "this request has another, or several.",
                accept_encoding=ACCEPTED_CODINGS,
            )


def refuse_other_charset(content_type: str) -> None:
    """Raises UnsupportedMediaType if the header names a charset other than UTF-8 or its part ASCII."""
    found = _CHARSET.search(content_type)
    if found is not None and found[1].lower() not in _UTF_8:
        raise UnsupportedMediaType("Send JSON in UTF-8; the Content-Type names another charset.")


def without_mark(body: bytes) -> bytes:
    """Returns `body` without the byte order mark of UTF-8.

    Raises UnsupportedMediaType for UTF-16 and UTF-32.
    """
    if body.startswith(_UTF_8_MARK):
        return body[len(_UTF_8_MARK) :]
    for mark, encoding in _OTHER_MARKS:
        if body.startswith(mark):
            raise _other_encoding(encoding)
    # JSON begins with an ASCII character. Next to it, UTF-16 and UTF-32 have NUL bytes, and JSON never has.
    if b"\0" in body[:2]:
        raise _other_encoding("UTF-16 or UTF-32")
    return body


def _other_encoding(encoding: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(f"Send JSON in UTF-8; this body begins like {encoding}.")


def _has_zlib_header(body: bytes) -> bool:
    # RFC 1950, section 2.2: the method is 8, and the first two bytes are a multiple of 31.
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0


def _inflated(body: bytes, coding: str, window_bits: int, most: int) -> bytes:
    found = b""
    for _ in range(_MAX_MEMBERS):
        unpacker = zlib.decompressobj(window_bits)
        try:
            # Stops one byte after the limit, so that a small body cannot become a huge one.
            found += unpacker.decompress(body, most + 1 - len(found))
        except zlib.error:
            raise MalformedJson(
                f"The body is not {coding}, although Content-Encoding says so, or it was damaged on its way."
            ) from None
        if len(found) > most:
            raise BodyTooLarge(f"The body of this request may have at most {most} bytes when unpacked.")
        if not unpacker.eof:
            raise MalformedJson(f"The {coding} body ends too early; send all of it.")
        body = unpacker.unused_data
        if not body:
            return found
        if coding != "gzip":
            break
    raise MalformedJson(f"Something follows the {coding} body; send nothing after it.")
