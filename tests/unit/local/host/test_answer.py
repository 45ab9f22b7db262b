"""The local host encodes what a function returned, or refuses it before any byte is sent."""

from typing import Any

import azure.functions as func
import pytest

from local.host.answer import encode_answer


class Unchecked(func.HttpResponse):
    """Takes any header; the library's own class refuses line breaks."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self._unchecked = headers

    @property
    def headers(self) -> Any:
        return self._unchecked


@pytest.mark.parametrize("value", ["a\r\nset-cookie: forged=1", "a\nb", "a\rb", "a\0b", "a\x7fb"])
def test_a_header_value_that_would_add_headers_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        encode_answer(Unchecked({"x-a": value}))


def test_a_tab_and_latin_letters_are_kept_and_other_letters_replaced() -> None:
    _, headers, _ = encode_answer(func.HttpResponse(headers={"x-a": "a\tb \u00e9 \u20ac"}))
    assert (b"x-a", b"a\tb \xe9 ?") in headers


@pytest.mark.parametrize("status", [0, 101, 199, 600, 999])
def test_a_status_that_ends_no_request_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=f"not {status}"):
        encode_answer(func.HttpResponse(status_code=status))


@pytest.mark.parametrize("status", [200, 299, 404, 599])
def test_other_statuses_are_kept(status: int) -> None:
    assert encode_answer(func.HttpResponse(b"b", status_code=status))[::2] == (status, b"b")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_has_no_body(status: int) -> None:
    assert encode_answer(func.HttpResponse(b"dropped", status_code=status))[2] == b""


@pytest.mark.parametrize("result", [None, {"not": "a response"}, b"bytes", 200])
def test_another_type_is_refused(result: object) -> None:
    with pytest.raises(TypeError, match="must return HttpResponse or str"):
        encode_answer(result)


def test_the_length_of_a_body_that_a_head_leaves_out_is_the_functions() -> None:
    result = func.HttpResponse(b"", headers={"content-length": "512", "x-a": "b"})
    assert (b"content-length", b"512") in encode_answer(result, to_head=True)[1]
    assert not any(name == b"content-length" for name, _ in encode_answer(result)[1])
    untrue = func.HttpResponse(b"body", headers={"content-length": "512"})
    assert not any(name == b"content-length" for name, _ in encode_answer(untrue, to_head=True)[1])
