"""Addresses such as s3://bucket/folder: which texts are some, and what can be done to them without asking a store."""

from __future__ import annotations

import glob
import re

# "simplecache::s3://…" is a chain, read from the right; one letter before "://" is a drive of Windows.
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*([a-z][a-z0-9+.-]+)://")
_PASSWORD = re.compile(r"(?<!\bgithub)(://[^/@:\s'\"]*):[^/@\s'\"]*@")
_QUERY = re.compile(r"(\bhttps?://[^\s'\"?]*)\?[^\s'\"]*")


def is_address(text: str) -> bool:
    """Return whether the text begins as an address of a kind that fsspec knows, installed or not.

    Example:
        >>> [is_address(own) for own in ("s3://bucket/a.tar", "C://photos", "photo://1.jpg", "./s3://a.jpg")]
        [True, False, False, False]
    """
    if "://" not in text:  # nearly all of a million lines of a list
        return False
    found = _ADDRESS.match(text)
    return found is not None and _is_known(found[1])


def scheme_of(address: str) -> str:
    """Return the kind of an address: what stands before "://".

    Example:
        >>> scheme_of("simplecache::gs://bucket/a.tar")
        'gs'
    """
    found = _ADDRESS.match(address)
    return found[1] if found else ""


def local_path(address: str) -> str:
    """Return the path of a file:// address.

    Example:
        >>> local_path("file:///data/photos")
        '/data/photos'
    """
    from fsspec.implementations.local import LocalFileSystem

    return str(LocalFileSystem._strip_protocol(address))


def without_secrets(text: str) -> str:
    """Return an address, or a text with some in it, without passwords, and without signatures of signed web addresses.

    Names of image sets and reasons of skipped images are stored in atlases, which people share.

    Example:
        >>> without_secrets("https://me:secret@host/a.tar?X-Amz-Signature=7f3a")
        'https://me@host/a.tar'
    """
    return _QUERY.sub(r"\1", _PASSWORD.sub(r"\1@", text))


def is_web(path: str) -> bool:
    """Return whether a path in a store is a web address, in which "?" begins the query."""
    return path.startswith(("http://", "https://"))


def has_stars(path: str) -> bool:
    """Return whether the path is a pattern with stars and the like."""
    return glob.has_magic(path.replace("?", "") if is_web(path) else path)


def without_query(path: str) -> str:
    """Return the path by whose ending a file's kind is told: a web address without its query."""
    return path.partition("?")[0] if is_web(path) else path


def joined(folder: str, file: str) -> str:
    """Return the path of a file that is named relative to a folder.

    Example:
        >>> joined("https://host/lists", "../photos/./a.jpg")
        'https://host/photos/a.jpg'
    """
    parts = folder.rstrip("/").split("/")
    # "https:", "" and the host; or "" of a path from the root, or a bucket
    n_fixed = 3 if is_web(folder) else 1
    for part in file.split("/"):
        if part == "..":
            del parts[max(n_fixed, len(parts) - 1) :]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _is_known(scheme: str) -> bool:
    from fsspec.registry import known_implementations, registry

    return scheme in known_implementations or scheme in registry
