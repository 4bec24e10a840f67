"""Handles and MAC addresses, as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subfunction.kernel.address import Handle, Mac

# Small alphabets: the whole of Unicode costs hypothesis seconds to lay out, and finds nothing more here.
WORDS = st.text("pciauxlry0123.:_ é\n\0", min_size=1)
ALMOST = st.text("0123456789abcdefABCDEFg:- \n٣", max_size=20)


@given(WORDS, WORDS)
def test_a_handle_is_read_back_as_it_is_printed(bus: str, device: str) -> None:
    assert Handle.parse(str(Handle(bus, device))) == Handle(bus, device)


@pytest.mark.parametrize("text", ["", "/", "pci", "pci/", "/0000:05:00.0", "pci/0000:05:00.0/32768"])
def test_what_is_no_handle_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as pci/0000:05:00\.0"):
        Handle.parse(text)


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_is_read_back_as_it_is_printed_in_either_case(octets: bytes) -> None:
    mac = Mac(octets)
    assert Mac.parse(str(mac)) == mac
    assert Mac.parse(str(mac).upper()) == mac


@given(ALMOST)
def test_any_text_is_a_mac_or_a_value_error(text: str) -> None:
    try:
        mac = Mac.parse(text)
    except ValueError:
        return
    assert str(mac) == text.lower()


@pytest.mark.parametrize("octets", [b"", bytes(5), bytes(7), bytes(20)])
def test_a_mac_has_six_bytes(octets: bytes) -> None:
    with pytest.raises(ValueError, match="an Ethernet address has 6"):
        Mac(octets)


@given(st.uuids().map(str))
def test_a_derived_mac_is_local_unicast_and_always_the_same(uid: str) -> None:
    mac = Mac.derived(uid)
    assert mac == Mac.derived(uid)
    assert mac.unicast
    assert not mac.unset
    assert mac.octets[0] & 0x03 == 0x02


@pytest.mark.parametrize(
    ("text", "unicast", "unset"),
    [
        ("00:00:00:00:00:00", False, True),
        ("01:00:5e:00:00:01", False, False),
        ("ff:ff:ff:ff:ff:ff", False, False),
        ("02:00:00:00:00:01", True, False),
    ],
)
def test_only_an_address_that_one_interface_may_own_is_unicast(text: str, *, unicast: bool, unset: bool) -> None:
    assert (Mac.parse(text).unicast, Mac.parse(text).unset) == (unicast, unset)
