import pytest

from backlight.images.addresses import (
    has_stars,
    is_address,
    joined,
    local_path,
    scheme_of,
    without_query,
    without_secrets,
)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a.tar",
        "gs://bucket",
        "https://host/a.tar?sig=1",
        "memory://a",
        "abfs://c@account.dfs.core.windows.net/a",
        "file:///a",
        "simplecache::s3://bucket/a.tar",
        "zip://*.jpg::s3://bucket/a.zip",
    ],
)
def test_addresses(text):
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "photos/a.jpg",
        "/photos/a.jpg",
        r"C:\photos\a.jpg",
        "C:/photos",
        "c://photos",
        "photo://1.jpg",
        "./s3://bucket",
        "my s3://bucket",
        "a b.jpg\ts3://bucket",
        "file:x.atlas",
        "://",
        "s3:/bucket",
    ],
)
def test_what_is_none(text):
    assert not is_address(text)


def test_the_scheme_of_a_chain_is_that_of_its_first_address():
    assert [scheme_of(own) for own in ("s3://a", "simplecache::gs://b/c", "zip://a::s3://b", "c:/a")] == [
        "s3",
        "gs",
        "zip",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ftp://me:secret@host/a", "ftp://me@host/a"),
        ("https://host/a.tar?X-Amz-Signature=1&b=2", "https://host/a.tar"),
        ("403, url='https://host/a?sig=1' for /b", "403, url='https://host/a' for /b"),
        ("github://user:repository@main/a", "github://user:repository@main/a"),
        ("abfs://container@account/a", "abfs://container@account/a"),
        ("s3://bucket/what?.tar", "s3://bucket/what?.tar"),
    ],
)
def test_secrets_are_left_out(text, expected):
    assert without_secrets(text) == expected


def test_a_question_mark_is_a_star_in_a_store_and_begins_a_query_on_the_web():
    assert has_stars("bucket/s-?.tar")
    assert not has_stars("https://host/s.tar?sig=1")
    assert has_stars("https://host/s-*.tar?sig=1")
    assert without_query("https://host/s.tar?sig=a.b") == "https://host/s.tar"
    assert without_query("bucket/s?.tar") == "bucket/s?.tar"


@pytest.mark.parametrize(
    ("folder", "file", "expected"),
    [
        ("bucket/x", "a.jpg", "bucket/x/a.jpg"),
        ("/x/", "y/a.jpg", "/x/y/a.jpg"),
        ("bucket/x", "../y/./a.jpg", "bucket/y/a.jpg"),
        ("bucket", "../../a.jpg", "bucket/a.jpg"),
        ("/x", "../a.jpg", "/a.jpg"),
        ("http://host/x", "../a.jpg", "http://host/a.jpg"),
        ("http://host", "../a.jpg", "http://host/a.jpg"),
        ("bucket/x", "a..b/..c.jpg", "bucket/x/a..b/..c.jpg"),
    ],
)
def test_a_file_relative_to_a_folder(folder, file, expected):
    assert joined(folder, file) == expected


def test_the_path_of_a_file_address():
    assert local_path("file:///data/a b.jpg") == "/data/a b.jpg"
