"""Addresses, and the secrets in them."""

from __future__ import annotations

import pytest

from fastmagic.data.get import get_data
from fastmagic.data.web.address import address, fingerprint, host, shown
from fastmagic.errors import FastMagicError

SECRET = "https://me:geheim@example.org:8443/data/cats.zip?token=geheim#geheim"


def test_nothing_secret_is_shown_or_kept() -> None:
    assert shown(SECRET) == "https://example.org:8443/data/cats.zip"
    assert "geheim" not in fingerprint(SECRET)
    assert host(SECRET) == "example.org"


def test_two_addresses_have_two_fingerprints() -> None:
    assert fingerprint("http://x.org/a?v=1") != fingerprint("http://x.org/a?v=2")


@pytest.mark.parametrize("text", ["http://[x/a.zip", "ftp://x.org/a", "http://", "x.org/a", ""])
def test_what_is_no_address(text: str) -> None:
    assert address(text) is None
    assert shown(text) == "the address"


@pytest.mark.parametrize(
    "typed",
    [
        "http://me:sEc/ret@127.0.0.1:1/a.zip",
        "me:sEcret@127.0.0.1/a.zip",
        "http//me:sEcret@127.0.0.1/a.zip",
        "https:me:sEcret@127.0.0.1/a.zip",
    ],
)
def test_a_mistyped_address_does_not_give_its_password_away(typed):
    with pytest.raises(FastMagicError) as caught:
        get_data(typed)
    assert "sEc" not in str(caught.value)


def test_the_same_place_is_the_same_whatever_its_fragment_and_case():
    one = fingerprint("http://example.org/a.zip")
    assert fingerprint("HTTP://example.org/a.zip#top") == one
