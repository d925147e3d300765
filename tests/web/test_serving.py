"""Serve: the same bytes as an export, to this machine alone."""

from __future__ import annotations

import asyncio
import re
import socket
from threading import Event, Thread
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.web import links, serving
from backlight.web.site import Answer, Site


@pytest.fixture
def client(atlas: Atlas, beside: Atlas) -> TestClient:
    return TestClient(serving.app(atlas, beside), base_url="http://127.0.0.1")


def test_every_address_is_answered_as_it_is_exported(atlas: Atlas, beside: Atlas, client: TestClient) -> None:
    site = Site(atlas, beside)
    for path in site.paths:
        found, wanted = client.get(f"/{path}"), site.answer(path)
        assert wanted is not None
        assert found.status_code == 200
        assert found.content == wanted.content
        assert found.headers["content-type"] == wanted.media_type
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").content == client.get("/index.html").content


def test_what_was_fetched_is_not_sent_again(client: TestClient) -> None:
    for path in ("/index.html", f"/{links.sheet('3', 1, 'patches')}"):
        first = client.get(path)
        assert first.headers["cache-control"] == "private, no-cache"
        tag = first.headers["etag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_sheet_is_kept_for_a_year_at_the_address_that_pages_have(
    atlas: Atlas, beside: Atlas, client: TestClient
) -> None:
    versions = {Site(*own).views.version for own in ((atlas,), (beside,), (atlas, beside), (beside, atlas))}
    assert len(versions) == 4
    (href,) = set(re.findall(r"sheets/3--1-patches[^\"]*", client.get("/layer-3.html").text))
    assert href == f"sheets/3--1-patches.webp?v={Site(atlas, beside).views.version}"
    first = client.get(f"/{href}")
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert client.get(f"/{href}", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    for other in versions - {href.rpartition("=")[2]}:
        found = client.get(f"/sheets/3--1-patches.webp?v={other}")
        assert found.content == first.content
        assert found.headers["cache-control"] == "private, no-cache"


def test_pictures_of_the_atlas_served_before_are_not_taken_for_those_of_this_one(
    atlas: Atlas, beside: Atlas
) -> None:
    first, then = (
        TestClient(serving.app(own, other), base_url="http://127.0.0.1")
        for own, other in ((atlas, beside), (beside, atlas))
    )
    for path in ("/sheets/3--1-projections.webp", "/sheets/beside-3--1-projections.webp"):
        before = first.get(path)
        # a browser that keeps it asks again, with its tag, and the other atlas's answer has another one
        assert before.headers["cache-control"] == "private, no-cache"
        after = then.get(path, headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.content != before.content


@pytest.mark.parametrize(
    "path",
    ["/none.html", "/static/%2e%2e/site.py", "/..%2f..%2fpyproject.toml", "/%2fetc%2fpasswd", "/static/"],
)
def test_no_address_is_a_path_of_the_file_system(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert found.status_code == 404
    assert "no such page" in found.text


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "attacker.localhost.example"])
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/index.html", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_can_be_written(client: TestClient, method: str) -> None:
    assert getattr(client, method)("/index.html").status_code == 405


def test_answers_are_kept_up_to_so_many_bytes(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_KEPT_BYTES", 20_000)
    kept = serving._Kept(Site(atlas))
    for path in Site(atlas).paths:
        kept.answer(path)
        assert kept._n_bytes == sum(len(answer.content) for answer, _ in kept._answers.values())
        assert kept._n_bytes <= 20_000 or len(kept._answers) == 1


def test_all_but_pictures_is_sent_packed_to_who_can_unpack_it(atlas: Atlas, client: TestClient) -> None:
    for path in Site(atlas).paths:
        packed = client.get(f"/{path}", headers={"Accept-Encoding": "gzip, br"})
        plain = client.get(f"/{path}", headers={"Accept-Encoding": "identity"})
        assert packed.content == plain.content
        assert packed.headers["etag"] == plain.headers["etag"]
        assert "content-encoding" not in plain.headers
        is_picture = path.endswith(".webp")
        assert packed.headers.get("content-encoding") == (None if is_picture else "gzip")
        assert packed.headers.get("vary") == plain.headers.get("vary")
        assert plain.headers.get("vary") == (None if is_picture else "Accept-Encoding")
    sent = client.get("/index.html", headers={"Accept-Encoding": "gzip"})
    assert int(sent.headers["content-length"]) < len(sent.content)


def test_what_is_there_need_not_wait_for_what_is_made(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()
    real, made = Site.answer, list[str]()

    def answer(self: Site, path: str) -> Answer | None:
        made.append(path)
        if path == links.ABOUT:
            begun.set()
            assert go_on.wait(60)
        return real(self, path)

    monkeypatch.setattr(Site, "answer", answer)
    kept = serving._Kept(Site(atlas))
    first = kept.answer(links.INDEX)
    makers = [Thread(target=kept.answer, args=(links.ABOUT,)) for _ in range(2)]
    for maker in makers:
        maker.start()
    assert begun.wait(60)
    assert kept.found(links.INDEX) == first is not None
    assert kept.found(links.ABOUT) is None
    go_on.set()
    for maker in makers:
        maker.join()
    assert kept.found(links.ABOUT) is not None
    assert made == [links.INDEX, links.ABOUT]  # the second waited, and found it


def test_a_port_that_is_taken_is_said_and_the_next_one_found() -> None:
    with socket.socket() as taken:
        taken.bind((serving.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInputError, match=f"port {port} is taken; pass another port"):
            serving._listening(port)
    with serving._listening(None) as first, serving._listening(None) as second:
        assert first.getsockname()[1] < second.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"


def test_small_answers_are_not_held_back() -> None:
    async def ask() -> int:
        delays: list[int] = []

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            delays.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = serving._listening(None)
        async with await asyncio.start_server(answer, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()
        return delays[0]

    assert asyncio.run(ask()) != 0


def test_serving_answers_on_its_address_until_it_is_stopped(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uvicorn

    servers: list[uvicorn.Server] = []
    real = uvicorn.Server.__init__

    def remember(self: uvicorn.Server, config: uvicorn.Config) -> None:
        real(self, config)
        servers.append(self)

    monkeypatch.setattr(uvicorn.Server, "__init__", remember)
    found: list[int] = []

    def ready(address: str) -> None:
        def ask() -> None:
            try:
                found.append(urlopen(f"{address}index.html", timeout=30).status)
            finally:
                servers[0].should_exit = True

        Thread(target=ask).start()

    serving.serve(atlas, ready=ready)
    assert found == [200]
