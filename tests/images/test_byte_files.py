from pathlib import Path

import pytest

from backlight.errors import ImageError
from backlight.images.byte_files import (
    ByteFile,
    LocalFile,
    as_byte_files,
    below_shared_folder,
    of_each,
    several_at_once,
)


def test_a_local_file_in_parts(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    monkeypatch.chdir(tmp_path)
    (file,) = as_byte_files([Path("a.bin")])
    assert isinstance(file, ByteFile)
    assert (file.name, file.size()) == (str(tmp_path / "a.bin"), 10)
    assert [file.read(3, 4), file.read(8, 10**15), file.read(20, 5)] == [b"3456", b"89", b""]
    with file.open() as stream:
        assert stream.read() == b"0123456789"
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ImageError, match=r"^No such file or directory$"):
        file.read(0, 1)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/d/s.tar"], ["s.tar"]),
        (["/d/x/s.tar", "/d/y/s.tar"], ["x/s.tar", "y/s.tar"]),
        (["/d/s.tar", "/d/s/s.tar"], ["s.tar", "s/s.tar"]),
        (["/d/ab/1", "/d/ac/1"], ["ab/1", "ac/1"]),
        (["/d/1", "/d/1"], ["1", "1"]),
        (["/a", "/b"], ["a", "b"]),
    ],
)
def test_paths_below_the_folder_that_all_share(paths, expected):
    assert below_shared_folder([LocalFile(Path(path)) for path in paths]) == expected


class Remote:
    name = place = "r"

    def size(self):
        return 0

    def open(self):
        raise OSError

    def read(self, offset, n_bytes):
        return b""


def test_each_file_is_read_in_order_here_or_there():
    for kind in (Remote(), LocalFile(Path("/a"))):
        assert of_each([kind] * 20, lambda i, file: (i, file)) == [(i, kind) for i in range(20)]


def test_several_at_once_keep_their_order_and_pass_on_what_is_raised():
    assert several_at_once(lambda i: i * i, list(range(3000))) == [i * i for i in range(3000)]
    assert several_at_once(lambda i: i, []) == []
    with pytest.raises(ZeroDivisionError, match="division"):
        several_at_once(lambda i: 1 // i, [1, 0, 2])
