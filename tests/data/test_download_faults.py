"""Servers, networks and disks that go wrong: nothing corrupt is kept, and what happened is said."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import ssl
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastmagic.data.web.download import download
from fastmagic.errors import DataError, DownloadError

from .downloads import DATA, QUICK, Waits, fetch, nothing_left
from .server import FileServer, Quirk

CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


@pytest.fixture(autouse=True)
def one_file(server: FileServer) -> None:
    server.files["a.zip"] = DATA


@pytest.mark.parametrize(
    ("status", "what"),
    [(404, "There is no file"), (410, "There is no file"), (403, "refuses"), (401, "refuses")],
)
def test_a_refusal_is_not_asked_twice(
    server: FileServer, archive: Path, status: int, what: str
) -> None:
    server.quirks = [Quirk(status=status)]
    with pytest.raises(DownloadError, match=f"{what}.*HTTP {status}"):
        fetch(server, archive)
    assert len(server.asked) == 1 and nothing_left(archive)


@pytest.mark.parametrize("status", [204, 304, 400, 416, 451])
def test_no_other_answer_becomes_a_file(server: FileServer, archive: Path, status: int) -> None:
    server.quirks = [Quirk(status=status)] * 9
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        fetch(server, archive)
    assert nothing_left(archive)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>",
        b"\n <html><body>Log in",
        b'<?xml version="1.0"?><Error>',
        b'{"error": {"code": 403, "message": "quota"}}',
        b"Too many people have downloaded this file.\n" * 40,
        "Nicht gefunden: schöne Grüße".encode(),
    ],
)
def test_a_page_or_a_message_is_no_archive(server: FileServer, archive: Path, body: bytes) -> None:
    server.quirks = [Quirk(body=body)]
    with pytest.raises(DownloadError, match=r"sent a (web page|text) instead of an archive"):
        fetch(server, archive)
    assert nothing_left(archive)


def test_a_page_is_recognised_also_when_it_comes_in_two_parts(
    server: FileServer, archive: Path
) -> None:
    page = b"<html>" + b"x" * 2000
    server.quirks = [Quirk(body=page, cut=3), Quirk(body=page)]
    with pytest.raises(DownloadError, match="web page"):
        fetch(server, archive)
    assert nothing_left(archive)


def test_an_empty_file_is_none(server: FileServer, archive: Path) -> None:
    server.files["a.zip"] = b""
    with pytest.raises(DownloadError, match="sent an empty file"):
        fetch(server, archive)


def test_a_length_that_is_too_large_never_becomes_a_file(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(length=len(DATA) + 100)] * 99
    with pytest.raises(DownloadError, match=r"HTTP 416|another part|could not be downloaded"):
        fetch(server, archive)
    assert not archive.exists()


@pytest.mark.parametrize("known", [{"checksum": CHECKSUM}, {"size": len(DATA)}])
def test_a_length_that_is_too_small_is_caught_by_what_is_known(
    server: FileServer, archive: Path, known: dict[str, object]
) -> None:
    server.quirks = [Quirk(length=len(DATA) - 100)]
    with pytest.raises(DownloadError, match=r"another checksum|2,999,900 bytes"):
        fetch(server, archive, **known)
    assert not archive.exists() and not archive.with_name("a.zip.part").exists()


@pytest.mark.parametrize("shift", [10, -10, 10**9])
def test_a_part_that_was_not_asked_for_is_not_added(
    server: FileServer, archive: Path, shift: int
) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(shift=shift)]
    _, view = fetch(server, archive)
    assert "another part" in view.notes[1] and server.asked[2].start == 700_000


def test_a_server_that_is_wrong_about_every_part_is_asked_for_the_whole(
    server: FileServer, archive: Path
) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(shift=9), Quirk(shift=9)]
    fetch(server, archive)
    assert [one.start for one in server.asked] == [0, 700_000, 700_000, 0]


@pytest.mark.parametrize(
    "said",
    [
        {"Content-Range": None},
        {"Content-Range": "bytes 700000-1/3000000"},
        {"Content-Range": "pages 1-2/3"},
        {"Content-Length": "5"},
    ],
)
def test_a_part_that_does_not_say_what_it_is_is_not_added(
    server: FileServer, archive: Path, said: dict[str, str | None]
) -> None:
    server.quirks = [Quirk(cut=700_000), Quirk(headers=said)]
    _, view = fetch(server, archive)
    assert any("another part" in note for note in view.notes)


def test_a_part_of_a_file_of_another_size_is_not_added(server: FileServer, archive: Path) -> None:
    wrong = {"Content-Range": "bytes 700000-2999999/3000001"}
    server.quirks = [Quirk(cut=700_000), Quirk(headers=dict(wrong))]
    _, view = fetch(server, archive)
    assert "another version" in view.notes[1] and server.asked[2].range == ""


def test_a_part_where_the_whole_was_asked_for_is_not_taken(
    server: FileServer, archive: Path
) -> None:
    class Parts(FileServer):
        def _span(self, *_: object) -> tuple[int, int]:
            return 0, 1000

    server._span = Parts()._span  # type: ignore[method-assign]
    with pytest.raises(DownloadError, match="HTTP 206"):
        fetch(server, archive)
    assert nothing_left(archive)


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changes_between_two_parts_is_fetched_anew(
    server: FileServer, archive: Path, heeds: bool
) -> None:
    server.heeds_if_range = heeds
    server.quirks = [Quirk(cut=700_000, body=DATA[::-1], etag='"old"')]
    _, view = fetch(server, archive)
    assert any("changed" in note or "another version" in note for note in view.notes)


def test_a_date_that_changes_between_two_parts_tells_too(server: FileServer, archive: Path) -> None:
    server.etag, server.modified, server.heeds_if_range = "", "Wed, 21 Oct 2015 07:28:00 GMT", False
    server.quirks = [
        Quirk(cut=9, body=DATA[::-1], headers={"Last-Modified": "Tue, 20 Oct 2015 07:28:00 GMT"})
    ]
    fetch(server, archive)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_an_encoded_answer_is_refused(server: FileServer, archive: Path, encoding: str) -> None:
    server.quirks = [Quirk(body=gzip.compress(DATA), headers={"Content-Encoding": encoding})]
    with pytest.raises(DownloadError, match=rf"sent encoded \({encoding}\)"):
        fetch(server, archive)
    assert server.asked[0].encoding == "identity" and nothing_left(archive)


def test_a_tar_gz_that_is_called_gzipped_is_the_file(server: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(DATA[:100_000])
    server.files["a.tar.gz"] = packed
    server.quirks = [Quirk(headers={"Content-Encoding": "x-gzip"})]
    target = tmp_path / "a.tar.gz"
    download(server.url("a.tar.gz"), target)
    assert target.read_bytes() == packed


def test_redirects_in_circles_end(server: FileServer, archive: Path) -> None:
    server.redirects = {"a.zip": "/b.zip", "b.zip": "/a.zip"}
    with pytest.raises(DownloadError, match="in circles"):
        fetch(server, archive)
    assert len(server.asked) <= 12


def test_a_redirect_to_nothing_usable(server: FileServer, archive: Path) -> None:
    server.redirects = {"a.zip": "ftp://example.org/a.zip?key=geheim"}
    with pytest.raises(DownloadError, match="cannot be used") as caught:
        fetch(server, archive)
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_a_redirect_is_followed_and_each_part_is_asked_for_at_the_first_address(
    server: FileServer, archive: Path
) -> None:
    server.files["real/a.zip"] = DATA
    server.redirects = {"a.zip": "/real/a.zip"}
    server.quirks = [Quirk(), Quirk(cut=500_000)]
    fetch(server, archive)
    assert [one.path for one in server.asked] == ["/a.zip", "/real/a.zip"] * 2
    assert server.asked[3].start == 500_000


def test_credentials_do_not_go_along_to_another_host(server: FileServer, archive: Path) -> None:
    server.files["real/a.zip"] = DATA
    server.redirects = {"a.zip": server.url("real/a.zip", host="localhost")}
    url = server.url("a.zip").replace("//", "//me:geheim@")
    fetched, view = fetch(server, archive, url=url)
    assert server.asked[0].authorization.startswith("Basic ")
    assert server.asked[1].authorization == ""
    assert "geheim" not in repr(fetched) + repr(view.notes)


def test_credentials_from_netrc_do_not_go_along_either(
    server: FileServer, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password geheim\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.files["real/a.zip"] = DATA
    server.redirects = {"a.zip": server.url("real/a.zip", host="localhost")}
    fetch(server, archive)
    assert [bool(one.authorization) for one in server.asked] == [True, False]


def test_a_refusal_shows_no_credentials(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(status=401)]
    with pytest.raises(DownloadError) as caught:
        fetch(server, archive, url=server.url("a.zip?key=geheim").replace("//", "//me:geheim@"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("cut", [None, 500_000])
def test_a_file_sent_in_chunks_of_no_said_length(
    server: FileServer, archive: Path, cut: int | None
) -> None:
    server.chunked = True
    server.quirks = [Quirk(cut=cut)]
    fetch(server, archive)
    assert len(server.asked) == (1 if cut is None else 2)


def test_a_length_that_nobody_says_is_said_to_be_unknown(server: FileServer, archive: Path) -> None:
    server.quirks = [Quirk(headers={"Content-Length": None})]
    _, view = fetch(server, archive)
    assert "does not say how long a.zip is" in view.notes[0]


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[FileServer]:
    """An https server whose certificate nobody has signed."""
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    one = FileServer({"a.zip": DATA})
    one.start(context)
    yield one
    one.stop()


def test_a_certificate_that_cannot_be_trusted_ends_it(
    secure: FileServer, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits()
    with pytest.raises(DownloadError, match=r"certificate of 127\.0\.0\.1 cannot be trusted"):
        fetch(secure, archive, sleep=waits)
    assert waits.seconds == [] and secure.asked == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    secure.quirks = [Quirk(cut=1_000_000)]
    fetch(secure, archive)  # the same certificate, trusted: the download and its resumption work


def test_https_asked_of_a_server_that_has_none(server: FileServer, archive: Path) -> None:
    with pytest.raises(DownloadError):
        url = server.url("a.zip").replace("http:", "https:")
        fetch(server, archive, url=url, patience=QUICK)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_disk_that_fills_in_the_middle_keeps_what_fitted(
    server: FileServer, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(2_000_000)
    server.quirks = [Quirk(headers={"Content-Length": None})]  # so that nobody can know before
    with pytest.raises(DataError, match=r"a\.zip could not be written: the disk is full"):
        download(server.url("a.zip"), folder / "a.zip")
    kept = (folder / "a.zip.part").read_bytes()
    assert not (folder / "a.zip").exists() and kept == DATA[: len(kept)] and len(kept) > 1_500_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A file system of so many bytes; only root can mount one."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_file_where_the_folder_should_be(server: FileServer, archive: Path) -> None:
    archive.parent.write_text("in the way")
    with pytest.raises(DataError, match=r"a\.zip could not be written") as caught:
        fetch(server, archive)
    assert str(archive.parent) in caught.value.next_step
    assert not isinstance(caught.value, DownloadError)


def test_a_folder_where_the_archive_should_be(server: FileServer, archive: Path) -> None:
    (archive / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match=r"a\.zip could not be written"):
        fetch(server, archive)
    assert (archive / "inner").is_dir()


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that cannot be written; for root, to whom permissions mean nothing, one of /sys."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield Path("/sys")
        return
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_a_destination_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    with (
        read_only(tmp_path) as folder,
        pytest.raises(DataError, match=r"could not be written: .*(denied|permitted|[Rr]ead-only)"),
    ):
        download(server.url("a.zip"), folder / "archives" / "a.zip")


def test_a_network_error_is_none_of_the_disk(server: FileServer, archive: Path) -> None:
    class Breaks:
        def get(self, *_: object, **__: object) -> None:
            raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(DownloadError, match="it was cut"):
        download(server.url("a.zip"), archive, session=Breaks(), sleep=Waits())
