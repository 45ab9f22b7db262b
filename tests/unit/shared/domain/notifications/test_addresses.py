"""Customers' addresses lead to the public internet alone, however they are written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.notifications.addresses import is_below, is_public, url_fault

PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:4700::6810:84e5", "2a00:1450:4001:82b::200e")
REFUSED = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "198.18.0.1", "192.0.0.192"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:808:808::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1"),
    *("5f00::1", "4000::1", "fe80::1%eth0"),
)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_called(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_or_lead_inside_are_refused(text: str) -> None:
    assert not is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_hides_an_address_of_ipv4(address: IPv4Address) -> None:
    number = int(address)
    for base in (0xFFFF << 32, 0, 0x64FF9B << 96, 0x2002 << 112):
        shift = 80 if base >> 112 == 0x2002 else 0
        assert not is_public(IPv6Address(base | number << shift))


GOOD_URLS = (
    "https://example.com/hook",
    "https://example.com:443/a?b=c",
    "https://hooks.example.co.uk:8443/",
    "https://xn--bcher-kva.example/",
    "https://8.8.8.8/hook",
    "https://[2606:4700::6810:84e5]/hook",
)
BAD_URLS = (
    *("http://example.com/", "ftp://example.com/", "//example.com/", "example.com", "", "https://"),
    *("https://user@example.com/", "https://user:pw@example.com/", "https://example.com@127.0.0.1/"),
    *(
        "https://example.com:80/",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://a.example:x/",
    ),
    *("https://localhost/", "https://internal/", "https://metadata/", "https://a..example.com/"),
    *(
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
    ),
    *("https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/"),
    *("https://[fe80::1%25eth0]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[::1/"),
    *("https://example.com\\@127.0.0.1/", "https://example.com /", "https://exam\nple.com/"),
    *("https://ex\u00e4mple.com/", "https://\u2460\u2461\u2466.0.0.1/", "https://example.com/#fragment"),
    *("https://-a.example.com/", "https://a.example.123/", "https://" + "a" * 1_100 + ".example.com/"),
)


@pytest.mark.parametrize("url", GOOD_URLS)
def test_urls_of_the_public_internet_are_taken(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize("url", BAD_URLS)
def test_other_urls_are_refused_with_what_is_expected(url: str) -> None:
    assert (url_fault(url) or "").startswith("Expected")


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://127.0.0.1:7100/webhook", True),
        ("http://127.0.0.1:7100/webhook/mine?a=b", True),
        ("http://127.0.0.1:7100/webhooks", False),
        ("http://127.0.0.1:7100/webhook/../shop", False),
        ("http://127.0.0.1:7100@evil.example/webhook/", False),
        ("http://127.0.0.1:71000/webhook/", False),
        ("https://127.0.0.1:7100/webhook/", False),
        ("http://[127.0.0.1:7100/webhook/", False),
    ],
)
def test_a_stand_in_is_trusted_below_its_address_alone(url: str, is_ours: bool) -> None:
    assert is_below(url, "http://127.0.0.1:7100/webhook") == is_ours
    assert not is_below(url, "")
