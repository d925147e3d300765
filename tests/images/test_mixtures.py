import pytest

from backlight.errors import BadInputError
from backlight.images.mixtures import kind_of_all, mixed_with_images, packed_kind, packed_suffix


def test_the_ending_tells_what_a_file_is():
    names = ["a.tar", "A.TAR", "a.parquet", "a.tar.gz", "a.png", ".tar.png", "tar"]
    assert [packed_suffix(name) for name in names] == [".tar", ".tar", ".parquet", None, None, None, None]


def test_the_kind_of_a_folder():
    assert packed_kind(["a.png", "b.txt"], "here") is None
    assert packed_kind(["a.png", "b.parquet"], "here") == ".parquet"
    with pytest.raises(
        BadInputError, match=r"^folder 'here' holds both .* give 'here/\*\.tar' or 'here/\*\.parquet'$"
    ):
        packed_kind(["a.tar", "b.parquet"], "here")
    assert "give 'here/*.parquet' for the Parquet files" in str(mixed_with_images("here", ".parquet"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], r"^the pattern 'p' finds no file$"),
        (["a.tar", "b.png"], r"^the pattern 'p' matches 'b\.png', which is neither"),
        (["a.tar", "b.parquet"], r"^the pattern 'p' matches both \.tar and \.parquet files; give one kind$"),
    ],
)
def test_a_pattern_matches_files_of_one_kind(found, message):
    assert kind_of_all(["a.tar", "b.TAR"], "p") == ".tar"
    with pytest.raises(BadInputError, match=message):
        kind_of_all(found, "p")
