"""An archive that arrived whole with another checksum than was asked for: kept aside, not lost.

`NAME.refused` is the archive, and `NAME.refused.sha256` its hash in the form that `sha256sum -c`
reads, with the address in a comment. The mistake may be in the checksum that a person typed; then
the next call needs no download. There is one of them for each archive.
"""

from __future__ import annotations

import re
from pathlib import Path


def aside(archive: Path) -> Path:
    """Name the file that a refused archive becomes.

    Examples
    --------
    >>> aside(Path("a.zip")).name
    'a.zip.refused'
    """
    return archive.with_name(f"{archive.name}.refused")


def keep(arrived: Path, archive: Path, sha256: str, source: str) -> Path:
    """Put aside what arrived, and write down its hash and the fingerprint of its address."""
    forget(archive)
    file = aside(archive)
    arrived.replace(file)
    _hash_file(archive).write_text(f"# {source}\n{sha256}  {file.name}\n", "utf-8")
    return file


def remembered(archive: Path) -> tuple[str, str]:
    """Give the hash and the address of what is aside; both empty where nothing usable is."""
    try:
        text = _hash_file(archive).read_text("utf-8", "replace")
    except OSError:
        return "", ""
    match = re.match(r"# (.*)\n([0-9a-f]{64})\s", text)
    return (match[2], match[1]) if match and aside(archive).is_file() else ("", "")


def put_back(archive: Path) -> None:
    """Make it the archive after all."""
    aside(archive).replace(archive)
    forget(archive)


def forget(archive: Path) -> None:
    """Drop what was put aside for its hash; one that could not be unpacked stays."""
    if _hash_file(archive).is_file():
        aside(archive).unlink(missing_ok=True)
        _hash_file(archive).unlink()


def _hash_file(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.refused.sha256")
