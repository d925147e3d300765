"""The addresses of a probe: what comes in is checked, what goes out is JSON, and no other site can ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.network import Network
from backlight.web import links, serving
from backlight.web.probe import routes
from backlight.web.probe.jobs import Jobs
from web.probe.test_shelf import png

ASKS = {"X-Backlight": "probe"}


@pytest.fixture
def client(atlas: Atlas, net: Network, pictures: Path) -> Iterator[TestClient]:
    with TestClient(serving.app(atlas, net=net, images=pictures), base_url="http://127.0.0.1") as found:
        yield found


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Jobs]:
    """The queues of the probes that a test makes."""
    made: list[Jobs] = []

    class Known(Jobs):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(routes, "Jobs", Known)
    return made


def upload(client: TestClient, content: bytes = png(0), name: str = "a.png") -> Any:
    return client.post(f"/{links.PROBE_IMAGES}", content=content, headers={**ASKS, "X-Name": name})


def ask(client: TestClient, **asked: Any) -> Any:
    return client.post(f"/{links.PROBE_JOBS}", content=json.dumps(asked), headers=ASKS)


def found_by(client: TestClient, jobs: list[Jobs], **asked: Any) -> Any:
    """Return the state of a job when it has ended."""
    job = ask(client, **asked).json()["id"]
    with suppress(CancelledError):
        jobs[-1]._jobs[job].future.exception(60)
    return client.get(f"/{links.PROBE_JOBS}/{job}").json()


def test_an_upload_is_probed(jobs: list[Jobs], client: TestClient) -> None:
    answer = upload(client, name="h%C3%A9llo%3Cb%3E.png")
    image = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert image["name"] == "héllo<b>.png"
    assert client.get(f"/{links.PROBE_IMAGES}/{image['id']}").json() == image
    looked = found_by(client, jobs, kind="look", image=image["id"], layer="1")
    assert looked["status"] == "done"
    channel = looked["result"]["maps"][0]["channel"]
    asked = {"image": image["id"], "layer": "1", "channel": channel}
    probed = found_by(client, jobs, kind="probe", **asked)["result"]
    assert probed["value"] == looked["result"]["maps"][0]["value"]
    place = {"row": probed["row"], "col": probed["col"]}
    assert found_by(client, jobs, kind="probe", **asked, **place)["result"] == probed
    assert found_by(client, jobs, kind="occlude", **asked, **place)["result"]["largest"] > 0


def test_an_image_of_the_atlas_is_probed(atlas: Atlas, jobs: list[Jobs], client: TestClient) -> None:
    number = next(iter(atlas.images))
    image = client.get(f"/{links.PROBE_IMAGES}/atlas-{number}").json()
    assert image["note"] == ""
    assert found_by(client, jobs, kind="look", image=image["id"], layer="3")["status"] == "done"


def test_an_inversion_is_stopped_and_shows_its_best(jobs: list[Jobs], client: TestClient) -> None:
    image = upload(client).json()["id"]
    job = ask(client, kind="invert", image=image, layer="1").json()["id"]
    while client.get(f"/{links.PROBE_JOBS}/{job}").json()["done"] < 2:
        pass
    assert client.delete(f"/{links.PROBE_JOBS}/{job}", headers=ASKS).status_code == 200
    jobs[-1]._jobs[job].future.exception(60)
    state = client.get(f"/{links.PROBE_JOBS}/{job}").json()
    assert (state["status"], state["result"]["stopped"]) == ("done", "interrupted")


def test_another_site_can_ask_for_nothing(client: TestClient) -> None:
    # a form or a plain fetch from elsewhere cannot send the header; with it, the browser asks first (OPTIONS)
    for method, path in (
        ("POST", links.PROBE_IMAGES),
        ("POST", links.PROBE_JOBS),
        ("DELETE", f"{links.PROBE_JOBS}/a"),
    ):
        assert (
            client.request(method, f"/{path}", headers={"Origin": "https://example.org"}).status_code == 403
        )
        asked = {"Origin": "https://example.org", "Access-Control-Request-Method": method}
        answer = client.options(f"/{path}", headers=asked)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert client.get(f"/{links.PROBE}", headers={"Host": "example.org"}).status_code == 400


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no picture", "not an image"), (png(0)[:150], "damaged"), (b"\x93NUMPY", "npy")],
)
def test_what_is_no_picture_is_one_clear_line(client: TestClient, content: bytes, words: str) -> None:
    answer = upload(client, content)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]
    assert "\n" not in answer.json()["problem"]


def test_too_large_a_picture_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_BYTES", 50)
    answer = upload(client)
    assert answer.status_code == 400
    assert "make the picture smaller" in answer.json()["problem"]


def test_what_is_too_long_is_not_read_to_its_end() -> None:
    read = []

    async def receive() -> dict[str, Any]:
        read.append(1)
        return {"type": "http.request", "body": b"x" * 400, "more_body": True}

    with pytest.raises(BadInputError, match=r"at most 0.001 MB"):
        asyncio.run(routes._body(Request({"type": "http"}, receive), 1000))
    assert len(read) == 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "needs its kind"),
        ({"kind": "look", "image": 3, "layer": "1"}, "needs its image"),
        ({"kind": "shell", "image": "a", "layer": "1"}, "not 'shell'"),
        ({"kind": "probe", "image": "a", "layer": "1"}, "needs its channel"),
        ({"kind": "probe", "image": "a", "layer": "1", "channel": True}, "needs its channel"),
        ({"kind": "probe", "image": "a", "layer": "1", "channel": 1, "row": 1}, "needs its col"),
        ({"kind": "probe", "image": "a", "layer": "1", "channel": 1, "row": "1", "col": 0}, "needs its row"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(client: TestClient, asked: dict[str, Any], words: str) -> None:
    answer = ask(client, **asked)
    assert answer.status_code == 400
    assert words in answer.json()["problem"]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'"look"', b"x" * 20_000])
def test_a_body_that_is_no_job_is_refused(client: TestClient, content: bytes) -> None:
    assert client.post(f"/{links.PROBE_JOBS}", content=content, headers=ASKS).status_code == 400


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "look", "image": "gone", "layer": "1"}, "no longer kept"),
        ({"kind": "look", "layer": "gone"}, "gone"),
        ({"kind": "probe", "layer": "1", "channel": 7}, "channel 7"),
        ({"kind": "probe", "layer": "1", "channel": 10**30}, "channel 1000"),
        ({"kind": "occlude", "layer": "1", "channel": 0, "row": -1, "col": 0}, "row -1"),
    ],
)
def test_a_job_that_cannot_be_done_says_why(
    jobs: list[Jobs], client: TestClient, asked: dict[str, Any], words: str
) -> None:
    state = found_by(client, jobs, **({"image": upload(client).json()["id"]} | asked))
    assert state["status"] == "failed"
    assert words in state["message"]
    assert not state["message"].startswith("this failed")


def test_a_job_that_is_not_known_is_said(client: TestClient) -> None:
    assert "no longer known" in client.get(f"/{links.PROBE_JOBS}/a").json()["problem"]
    assert client.delete(f"/{links.PROBE_JOBS}/a", headers=ASKS).status_code == 200


def test_a_full_queue_is_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backlight.web.probe.jobs.MOST_WAITING", -1)
    answer = ask(client, kind="look", image="a", layer="1")
    assert answer.status_code == 429
    assert "running or waiting" in answer.json()["problem"]


def test_without_a_model_there_is_no_probe(atlas: Atlas) -> None:
    client = TestClient(serving.app(atlas), base_url="http://127.0.0.1")
    assert client.get(f"/{links.PROBE}").status_code == 404
    assert client.post(f"/{links.PROBE_JOBS}", content="{}", headers=ASKS).status_code == 405
    assert links.PROBE not in client.get("/").text
