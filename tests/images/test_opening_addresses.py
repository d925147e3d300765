"""Whatever is at an address is the same set as on this machine, and a store that lies costs only what it withholds."""

import pickle
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from backlight.errors import BacklightWarning, BadInputError, ImageError
from backlight.images import AddressSource, Preprocessing, TarSource, load_batches, open_images
from images.archives import png, write_tar
from images.pictures import names

N_IMAGES = 60


@pytest.fixture
def place(tmp_path):
    """Return a folder with sets of every kind."""
    for i in range(6):
        path = tmp_path / "photos" / ["cat", "dog/big", "."][i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i, size=(3 + i, 4)))
    (tmp_path / "photos" / ".hidden").mkdir()
    (tmp_path / "photos" / ".hidden" / "h.png").write_bytes(png())
    (tmp_path / "photos" / "cat" / "notes.md").write_text("x")
    for shard, first in (("x/s-0", 0), ("x/s-1", 30), ("y/s-2", 40)):
        last = {0: 30, 30: 40, 40: N_IMAGES}[first]
        members = [(f"{i:03}.png", noisy(i)) for i in range(first, last)]
        write_tar(tmp_path / "shards" / f"{shard}.tar", [*members, (f"{first:03}.cls", b"first")])
    (tmp_path / "list.txt").write_text("photos/cat/0.png\tfelix\nphotos/2.png\n")
    (tmp_path / "list.csv").write_text('path,label\n"photos/cat/0.png",felix\nnowhere.png,\n')
    return tmp_path


def noisy(i):
    """Return a picture that does not shrink, of one level: 1.5 KB, half of it noise behind the pixels."""
    return png(i) + np.random.default_rng(i).bytes(1500)


def upload(fs, folder):
    for path in folder.rglob("*"):
        if path.is_file():
            fs.pipe(f"/bucket/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("photos", AddressSource),
        ("photos/", AddressSource),
        ("photos/cat/0.png", AddressSource),
        ("list.txt", AddressSource),
        ("list.csv", AddressSource),
        ("shards/x", TarSource),
        ("shards/x/s-1.tar", TarSource),
        ("shards/x/s-{1,0}.tar", TarSource),
        ("shards/{y/s-2,x/s-0}.tar", TarSource),
        ("shards/x/*.tar", TarSource),
        ("shards/**/s-?.tar", TarSource),
        ("shards/{y,x}/*.tar", TarSource),
    ],
)
def test_a_set_is_the_same_here_and_there(place, store, spec, kind):
    upload(store, place)
    here, there = open_images(place / spec), open_images(f"lying://bucket/{spec}")
    assert type(there) is kind
    assert there.name == f"lying://bucket/{spec}"
    assert there.records == here.records
    assert there.fingerprint() == here.fingerprint()
    for i in range(len(here)):
        try:
            expected = here.load(i)
        except ImageError:
            with pytest.raises(ImageError, match=r"^no such file \(2 attempts\)$"):
                there.load(i)
        else:
            assert there.load(i) == expected


def test_a_file_address_is_a_path(place):
    assert open_images(f"file://{place}/photos").records == open_images(place / "photos").records


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "nowhere",
            r"^there is nothing at 'lying://bucket/nowhere', or you may not see it; check the address$",
        ),
        ("empty", r"^no image in folder 'lying://bucket/empty'; looked for \.avif, "),
        (
            "empty/notes.md",
            r"notes\.md' is neither an image, a list .* nor a \.tar or \.parquet file; a folder",
        ),
        ("both", r"holds both images and tar shards; give 'lying://bucket/both/\*\.tar' for the shards"),
        ("two", r"holds both tar shards and Parquet files; give 'lying://bucket/two/\*\.tar' or"),
        ("saved", r"^'lying://bucket/saved' is a Hugging Face dataset .* copy it to this machine, or write"),
        ("x/*.tar", r"^the pattern 'lying://bucket/x/\*\.tar' finds no file$"),
        ("photos/cat/*.png", r"matches '/bucket/photos/cat/0\.png', which is neither"),
        ("s-{7..8}.tar", r"^cannot read 'lying:///bucket/s-7\.tar': no such file$"),
        ("s-{0..100000}.tar", r"matches more than 100000 files"),
        ("broken.tar", r"^cannot read tar shard 'lying:///bucket/broken\.tar': .*; shards must be whole"),
        ("broken.txt", r"^list 'lying://bucket/broken\.txt' is not UTF-8 text \(byte 0\); convert it first$"),
    ],
)
def test_errors(place, store, spec, message):
    upload(store, place)
    for name in (
        "empty/notes.md",
        "both/a.png",
        "both/s.tar",
        "two/a.tar",
        "two/b.parquet",
        "saved/state.json",
    ):
        store.pipe(f"/bucket/{name}", b"x")
    store.pipe("/bucket/broken.tar", b"\1" * 2000)
    store.pipe("/bucket/broken.txt", b"\xff\xfe")
    with pytest.raises(BadInputError, match=message) as caught:
        open_images(f"lying://bucket/{spec}")
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_listed(store):
    store.pipe("/bucket/a.png", png())
    store.faults["info"] = "Unable to locate credentials"
    with pytest.raises(
        BadInputError, match=r"^cannot read 'lying://bucket': Unable to locate credentials \(4 attempts\)$"
    ):
        open_images("lying://bucket")


def test_a_shard_that_does_not_come_is_named_without_blaming_it(place, store):
    upload(store, place)
    store.faults["/bucket/shards/x/s-1.tar"] = ["always late"]
    with pytest.raises(
        BadInputError,
        match=r"^cannot read tar shard 'lying:///bucket/shards/x/s-1\.tar': "
        r"the store did not answer in time \(6 attempts\)$",
    ):
        open_images("lying://bucket/shards/x/*.tar")


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0.5, r"^cannot read tar shard '.*': (unexpected end of data|damaged header at byte \d+)"),
        (1.5, r"^cannot read tar shard '.*': the store gave \d+ bytes instead of \d+ \(6 attempts\)$"),
    ],
    ids=["less than there is", "more than there is"],
)
def test_a_wrong_size_of_a_shard_is_noticed(place, store, factor, message):
    upload(store, place)
    path = "/bucket/shards/x/s-0.tar"
    store.told[path] = int(store.size(path) * factor) // 512 * 512 + 7
    with pytest.raises(BadInputError, match=message):
        open_images("lying://bucket/shards/x/s-0.tar")


def test_a_wrong_size_of_an_image_costs_that_image(place, store):
    upload(store, place)
    store.told["/bucket/photos/cat/0.png"] = 10_000
    batches = list(load(open_images("lying://bucket/photos")))
    assert [own.path for batch in batches for own in batch.skipped] == ["cat/0.png"]
    assert sum(len(batch.ids) for batch in batches) == 5


def load(source):
    return load_batches(source, Preprocessing.default(3, 4), range(len(source)), batch_size=7, workers=3)


@pytest.mark.parametrize("spec", ["shards/{x,y}/*.tar", "photos"])
@pytest.mark.parametrize("seed", range(5))
def test_faults_that_pass_change_nothing(place, store, spec, seed):
    """Three of ten answers are late, refused, short, too long or empty: every image is the right one."""
    upload(store, place)
    store.share, store.seed = 0.3, seed
    here, there = open_images(place / spec), open_images(f"lying://bucket/{spec}")
    truth = list(load(here))
    for batch, right in zip(load(there), truth, strict=True):
        assert (batch.ids, batch.skipped) == (right.ids, right.skipped)
        assert batch.tensor.equal(right.tensor)


def test_what_is_withheld_for_good_is_skipped_and_listed(place, store):
    upload(store, place)
    source = open_images("lying://bucket/photos")
    store.faults = {
        "/bucket/photos/2.png": ["always missing"],
        "/bucket/photos/cat/0.png": ["always garbage"],
        "/bucket/photos/dog/big/1.png": ["always error"],
        "/bucket/photos/dog/big/4.png": ["late", "garbage", "garbage"],
        "/bucket/photos/5.png": ["error", "late", "short"],
    }
    skipped = {own.path: own.reason for batch in load(source) for own in batch.skipped}
    assert skipped == {
        "2.png": "no such file (2 attempts)",
        "cat/0.png": "not an image in a format that Pillow reads",
        "dog/big/1.png": "503 Slow Down (6 attempts)",
        "dog/big/4.png": "not an image in a format that Pillow reads",
    }


def test_a_shard_that_goes_wrong_after_it_was_indexed(place, store):
    upload(store, place)
    source = open_images("lying://bucket/shards/x/*.tar")
    source = pickle.loads(pickle.dumps(source))
    store.rm("/bucket/shards/x/s-1.tar")
    found = list(load(source))
    assert sorted(i for batch in found for i in batch.ids) == list(range(30))
    assert {own.reason for batch in found for own in batch.skipped} == {
        "the shard cannot be read: no such file (2 attempts)"
    }
    store.pipe("/bucket/shards/x/s-1.tar", b"\0" * 10**6)
    reasons = {own.reason for batch in load(pickle.loads(pickle.dumps(source))) for own in batch.skipped}
    assert reasons == {"not an image in a format that Pillow reads"}


def test_a_scan_of_shards_makes_few_requests(place, store):
    upload(store, place)
    source = open_images("lying://bucket/shards/{x,y}/*.tar")
    n_index = len([own for own in store.requests if own[1] != "info"])
    assert n_index == 3, "each of these shards fits into one block"
    source = pickle.loads(pickle.dumps(source))
    list(load(source))
    assert len([own for own in store.requests if own[1] != "info"]) == 2 * n_index


def test_threads_in_any_order(place, store):
    upload(store, place)
    source = open_images("lying://bucket/shards/{x,y}/*.tar")
    store.share = 0.2
    ids = list(range(N_IMAGES)) * 3
    random.Random(0).shuffle(ids)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: source.load(i).getpixel((0, 0))[0], ids)) == ids


def test_arrays_count_where_there_is_no_image(store, tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 4), 1000, np.uint16))
    store.pipe("/d/a.npy", (tmp_path / "a.npy").read_bytes())
    assert open_images("lying://d").load(0).values.max() == 1000
    store.pipe("/d/b.png", png())
    with pytest.warns(BacklightWarning, match=r"1 \.npy file beside the images of 'lying://d' not read"):
        assert names(open_images("lying://d")) == ["b.png"]


def test_a_web_server_that_is_not_there_is_not_taken_for_a_missing_file(store):
    pytest.importorskip("aiohttp", reason="fsspec reads from the web with it")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        BadInputError, match=r"^cannot read 'http://[^']*': Cannot connect to host .*\(4 attempts\)$"
    ):
        open_images(f"http://127.0.0.1:{port}/a.tar")


class _Web(BaseHTTPRequestHandler):
    """Serves a folder as web servers do: lists of links, parts of files."""

    def __init__(self, folder, *args):
        self.folder = folder
        super().__init__(*args)

    def do_HEAD(self):
        self.do_GET(has_body=False)

    def do_GET(self, has_body=True):
        path = Path(f"{self.folder}{self.path.partition('?')[0]}")
        if "refused" in path.name:
            return self.send_error(403)
        if not path.exists():
            return self.send_error(404)
        if path.is_dir():
            links = "".join(
                f'<a href="{own.name}{"/" * own.is_dir()}">x</a>' for own in sorted(path.iterdir())
            )
            return self._answer(200, links.encode(), has_body, "text/html")
        data, span = path.read_bytes(), self.headers.get("Range")
        if span is None:
            return self._answer(200, data, has_body)
        first, last = span.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        return self._answer(206, part, has_body, total=f"bytes {first}-{last}/{len(data)}")

    def _answer(self, code, data, has_body, kind="application/octet-stream", total=None):
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", kind)
        self.send_header("Accept-Ranges", "bytes")
        if total:
            self.send_header("Content-Range", total)
        self.end_headers()
        if has_body:
            self.wfile.write(data)
        return

    def log_message(self, *_):
        pass


@pytest.fixture
def web(place, store):
    """Return the address at which a web server of this machine serves the folder of sets."""
    pytest.importorskip("aiohttp", reason="fsspec reads from the web with it")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Web, place))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "spec",
    ["photos/", "list.txt", "shards/x/s-{0..1}.tar", "shards/y/s-2.tar?sig=a.b", "photos/cat/0.png?v=1"],
)
def test_from_a_web_server(place, web, spec):
    here, there = open_images(place / spec.partition("?")[0]), open_images(f"{web}/{spec}")
    assert there.name == f"{web}/{spec.partition('?')[0]}"
    assert [own.label for own in there.records] == [own.label for own in here.records]
    assert names(there) == names(here)
    assert there.fingerprint() == here.fingerprint()
    assert [there.load(i) for i in range(len(here))] == [here.load(i) for i in range(len(here))]


def test_what_a_web_server_refuses(web):
    with pytest.raises(
        BadInputError, match=rf"^there is nothing at '{web}/none\.tar', or you may not see it"
    ):
        open_images(f"{web}/none.tar")
    with pytest.raises(
        BadInputError, match=r"^cannot read 'http://[^']*/refused\.tar': 403, .*\(2 attempts\)$"
    ) as caught:
        open_images(f"{web}/refused.tar?sig=7f3a")
    assert "7f3a" not in str(caught.value)
