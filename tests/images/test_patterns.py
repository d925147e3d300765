import pytest

from backlight.errors import BadInputError
from backlight.images.patterns import expanded, find_shards
from images.archives import write_tar


def test_patterns(tmp_path):
    for name in ("s-002.tar", "s-000.tar", "s-001.tar", "t.tar"):
        write_tar(tmp_path / name, [])
    found = {p: [path.name for path in find_shards(f"{tmp_path}/{p}")] for p in ["s-*.tar", "s-00[01].tar"]}
    assert found == {
        "s-*.tar": ["s-000.tar", "s-001.tar", "s-002.tar"],
        "s-00[01].tar": ["s-000.tar", "s-001.tar"],
    }
    write_tar(tmp_path / "x[1]" / "y" / "u.tar", [])
    write_tar(tmp_path / ".hidden" / "v.tar", [])
    for link in "ab":  # with two, there is no end to the ways round
        (tmp_path / "x[1]" / link).symlink_to(tmp_path / "x[1]")
    for pattern in ("x*/**/*.tar", "**/y/*.tar", "**/**/u.tar"):
        assert [path.name for path in find_shards(f"{tmp_path}/{pattern}")] == ["u.tar"]
    assert len(find_shards(f"{tmp_path}/**/*.tar")) == 5
    assert [p.name for p in find_shards(f"{tmp_path}/{{t,s-*}}.tar")] == [
        "t.tar", "s-000.tar", "s-001.tar", "s-002.tar",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("a-{008..010}.tar", ["a-008.tar", "a-009.tar", "a-010.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("a-{3..2}.tar", []),
        ("a.tar", ["a.tar"]),
    ],
)
def test_braces(pattern, expected):
    assert [str(path) for path in find_shards(pattern)] == expected


def test_braces_come_in_their_order_and_stars_stay():
    assert list(expanded("s3://bucket/{b,a}-{1..2}/*.tar")) == [
        "s3://bucket/b-1/*.tar",
        "s3://bucket/b-2/*.tar",
        "s3://bucket/a-1/*.tar",
        "s3://bucket/a-2/*.tar",
    ]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{0..100000}.tar", r"matches more than 100000 files; check the numbers in its braces$"),
        ("{a,b}" * 33, r"^the pattern has more than 32 braces; give the shards as a folder$"),
    ],
)
def test_a_pattern_that_stands_for_too_much(pattern, message):
    with pytest.raises(BadInputError, match=message):
        list(expanded(pattern))
