"""Addresses, and the secrets in them."""

from __future__ import annotations

import pytest

from fastmagic.data.web.address import address, fingerprint, host, shown

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
