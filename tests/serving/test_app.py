"""The service's HTTP side with a backend of arithmetic: limits, queue, keys, drain, metrics."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

import httpx

from diffagiqa.data.images import ImageLimits
from diffagiqa.errors import ConfigError, DiffAGIQAError
from diffagiqa.rows import ANSWER
from diffagiqa.serving.app import Gate, build_app, drained, with_retries
from diffagiqa.serving.batches import LocalBackend
from diffagiqa.serving.ray_service import _drain
from diffagiqa.serving.requests import Refused
from diffagiqa.serving.settings import ServiceSettings, keys_from_environment


class Echo:
    """Scores a picture by its length; waits where it is told to."""

    def __init__(self, wait: float = 0.0) -> None:
        self.wait = wait
        self.seen: list[tuple[bytes, str | None]] = []

    async def score(self, data: bytes, prompt: str | None) -> dict[str, Any]:
        await asyncio.sleep(self.wait)
        self.seen.append((data, prompt))
        error = "no picture" if data == b"bad" else None
        return {"scores": {"perception": len(data)}, "prompt": prompt, "error": error}

    async def ready(self) -> bool:
        return True


class Full(Echo):
    """Says of every picture all that the service says."""

    async def score(self, data: bytes, prompt: str | None) -> dict[str, Any]:
        found = await super().score(data, prompt)
        scores = None if found["error"] else {"perception": 0.5}
        return dict.fromkeys(ANSWER) | found | {"scores": scores, "mos": scores, "seed": 0}


def talk(
    body: Callable[[httpx.AsyncClient], Awaitable[Any]],
    backend: Echo | None = None,
    gate: Gate | None = None,
    notice: str = "",
    **settings: Any,
) -> Any:
    """Run a conversation with an application."""
    app = build_app(backend or Echo(), ServiceSettings(**settings), gate, notice)

    async def main() -> Any:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await body(client)

    return asyncio.run(main())


def files(*data: bytes) -> list[Any]:
    return [("image", (f"{i}.png", item)) for i, item in enumerate(data)]


def as_json(*data: bytes, **more: Any) -> dict[str, Any]:
    return {"images": [{"image": base64.b64encode(item).decode()} | more for item in data]}


def test_multipart_and_json_give_the_same() -> None:
    backend = Echo()

    async def body(client: httpx.AsyncClient) -> Any:
        sent = files(b"one", b"three")
        first = await client.post("/v1/score", files=sent, data={"prompt": ["a", "b"]})
        entries = as_json(b"one", b"three")
        for entry, prompt in zip(entries["images"], "ab", strict=True):
            entry["prompt"] = prompt
        second = await client.post("/v1/score", json=entries)
        single = {"image": "data:image/png;base64," + entries["images"][0]["image"]}
        third = await client.post("/v1/score", json=single)
        return first, second, third

    first, second, third = talk(body, backend)
    assert first.status_code == second.status_code == third.status_code == 200
    assert first.json() == second.json()
    assert [r["scores"]["perception"] for r in first.json()["results"]] == [3, 5]
    assert [r["prompt"] for r in first.json()["results"]] == ["a", "b"]
    assert backend.seen[-1] == (b"one", None)


@pytest.mark.parametrize("start", ["", "data:image/png;base64,", "\n DATA:image/png;base64,\r\n"])
@pytest.mark.parametrize(
    "written", [base64.encodebytes, lambda data: b" " + base64.b64encode(data)]
)
def test_base64_may_have_line_breaks(start: str, written: Callable[[bytes], bytes]) -> None:
    backend = Echo()
    data = bytes(range(200))
    text = start + written(data).decode().replace("\n", "\r\n")
    said = [
        json.dumps({"image": text}),
        '{"image": "' + text + '"}',
    ]  # escaped, and as a shell does
    kind = {"content-type": "application/json"}

    async def body(client: httpx.AsyncClient) -> Any:
        return [await client.post("/v1/score", content=one, headers=kind) for one in said]

    assert [answer.status_code for answer in talk(body, backend)] == [200, 200]
    assert backend.seen == [(data, None)] * 2


@pytest.mark.parametrize("ended", [2, TimeoutError()])
def test_a_gateway_that_answers_no_more_is_one_sentence(ended: int | TimeoutError) -> None:
    def result(timeout_s: float) -> int:
        if isinstance(ended, TimeoutError):
            raise ended
        return ended

    handle = SimpleNamespace()
    handle.drain = SimpleNamespace(remote=lambda: SimpleNamespace(result=result))
    if isinstance(ended, int):
        assert _drain(handle, 30) == 2
    else:
        with pytest.raises(DiffAGIQAError, match="did not answer within 35 s"):
            _drain(handle, 30)


def test_a_prompt_beside_the_images_is_that_of_those_without_one() -> None:
    backend = Echo()
    sent = as_json(b"one", b"two") | {"prompt": " a\tfox"}
    sent["images"][1]["prompt"] = "a cat"
    answer = talk(lambda client: client.post("/v1/score", json=sent), backend)
    assert [row["prompt"] for row in answer.json()["results"]] == ["a fox", "a cat"]
    wrong = talk(lambda client: client.post("/v1/score", json=sent | {"prompt": 3}))
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "a prompt is no text")


def test_every_answer_says_what_the_model_is_not_good_for() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        return [(await client.post("/v1/score", files=files(d))).json() for d in (b"a", b"bad")]

    assert [said["notice"] for said in talk(body, notice="not for cats")] == ["not for cats"] * 2


def test_images_of_many_requests_are_scored_together_and_a_fault_is_each_ones_own() -> None:
    sizes: list[int] = []
    begun = threading.Event()

    def score(images: list[Any]) -> list[dict[str, Any]]:
        sizes.append(len(images))
        begun.wait(30)  # meanwhile the others arrive
        if any(data == b"oom" for data, _ in images):
            raise MemoryError
        return [{"scores": {"perception": len(d)}, "error": None} for d, _ in images]

    async def main() -> list[Any]:
        backend = LocalBackend(score, batch_size=3, batch_wait=0.0)  # type: ignore[arg-type]
        first = asyncio.create_task(backend.score(b"first", None))
        while not sizes:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(backend.score(b"x" * n, None)) for n in range(1, 6)]
        given_up = asyncio.create_task(backend.score(b"late", None))
        await asyncio.sleep(0)
        given_up.cancel()
        begun.set()
        found = await asyncio.gather(first, *rest)
        with pytest.raises(MemoryError):
            await backend.score(b"oom", None)
        return [said["scores"]["perception"] for said in found]

    assert asyncio.run(main()) == [5, 1, 2, 3, 4, 5]
    assert sizes == [1, 3, 2, 1]


def test_one_prompt_for_all_and_a_bad_picture_among_good() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        some = await client.post("/v1/score", files=files(b"ok", b"bad"), data={"prompt": "a"})
        none = await client.post("/v1/score", files=files(b"bad"))
        return some, none, await client.get("/metrics")

    some, none, metrics = talk(body)
    assert some.status_code == 200
    assert [r["error"] for r in some.json()["results"]] == [None, "no picture"]
    assert [r["prompt"] for r in some.json()["results"]] == ["a", "a"]
    assert none.status_code == 422
    assert 'diffagiqa_images_total{outcome="failed"} 2.0' in metrics.text
    assert 'diffagiqa_requests_total{status="422"} 1.0' in metrics.text
    assert "diffagiqa_request_seconds_bucket" in metrics.text


BAD_MULTIPART = b'--b\r\nContent-Disposition: form-data; name="image"\r\nbad header\r\n\r\nx\r\n'


def test_metrics_count_faults_of_the_client_as_the_clients() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        bad = await client.post("/v1/score", content=BAD_MULTIPART, headers=kind)
        return bad, (await client.get("/metrics")).text

    bad, metrics = talk(body)
    assert bad.status_code == 400
    assert "the multipart body cannot be read (" in bad.json()["detail"]
    assert 'diffagiqa_requests_total{status="400"} 1.0' in metrics
    assert 'status="500"' not in metrics


@pytest.mark.parametrize("said", [{"type": "http.disconnect"}, RuntimeError("was cancelled")])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_client_that_goes_away_in_its_body_is_no_fault_of_the_service(
    kind: str, said: Any
) -> None:
    gate = Gate(4)
    app = build_app(Echo(), ServiceSettings(), gate)
    scope = {
        "type": "http", "method": "POST", "path": "/v1/score", "query_string": b"",
        "headers": [(b"content-type", kind.encode()), (b"content-length", b"1000")],
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": b"--b", "more_body": True}, said])

    async def receive() -> Any:
        message = next(messages)
        if isinstance(message, Exception):  # Ray Serve's way, now and then
            raise message
        return message

    async def send(_: Any) -> None:
        return None

    async def main() -> str:
        await app(scope, receive, send)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/metrics")).text

    metrics = asyncio.run(main())
    assert 'diffagiqa_requests_total{status="499"} 1.0' in metrics
    assert 'status="500"' not in metrics
    assert gate.open == 0


def test_a_client_that_does_not_wait_is_no_fault_of_the_service() -> None:
    gate = Gate(4)

    async def body(client: httpx.AsyncClient) -> str:
        waiting = asyncio.create_task(client.post("/v1/score", json=as_json(b"a")))
        await asyncio.sleep(0.05)
        waiting.cancel()  # as Serve does where the client closes its connection
        await asyncio.wait([waiting])
        return (await client.get("/metrics")).text

    metrics = talk(body, Echo(wait=5), gate)
    assert 'diffagiqa_requests_total{status="499"} 1.0' in metrics
    assert 'status="500"' not in metrics
    assert gate.open == 0


WRONG = [
    (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
    (400, {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}),
    (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
    (400, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}),
    (415, {"content": b"x", "headers": {"content-type": "text/plain"}}),
    (415, {}),
    (422, {"json": {"images": []}}),
    (422, {"json": {"images": ["a"]}}),
    (422, {"json": 5}),
    (422, {"json": {"image": "not base64!"}}),
    (422, {"json": {"image": "YWJ\u00a0j"}}),
    (422, {"json": {"image": 7}}),
    (422, {"json": as_json(b"a", prompt=3)}),
    (422, {"json": {"url": "https://example.org/a.png"}}),
    (422, {"files": files(b"a", b"b"), "data": {"prompt": ["1", "2", "3"]}}),
    (422, {"data": {"image": "text"}, "files": [("other", ("a.png", b"a"))]}),
    (413, {"files": files(*[b"a"] * 17)}),
    (413, {"files": files(b"a" * 2001)}),
    (413, {"json": as_json(b"a" * 2001)}),
    (413, {"json": {"image": base64.encodebytes(b"a" * 2001).decode()}}),
    (413, {"json": {"image": "YWJj" + "\n" * 1_000_000}}),
    (413, {"json": as_json(b"a", prompt="p" * 100_001)}),
    (413, {"content": b"x" * 1_000_001, "headers": {"content-type": "application/json"}}),
]


@pytest.mark.parametrize(("status", "request_"), WRONG)
def test_wrong_requests_are_answered_with_a_sentence(status: int, request_: dict[str, Any]) -> None:
    answer = talk(
        lambda client: client.post("/v1/score", **request_),
        max_body=1_000_000,
        limits=ImageLimits(max_bytes=2000),
    )
    assert answer.status_code == status
    text = json.dumps(answer.json())
    assert len(text) < 500
    assert "Traceback" not in text


def test_json_is_made_of_no_more_parts_than_its_images_need() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        many = await client.post("/v1/score", json={"images": [[]] * 60_000})
        return many, await client.post("/v1/score", json=as_json(b"a", prompt="[" * 100_000))

    many, prompt = talk(body, max_images=1)
    assert (many.status_code, prompt.status_code) == (413, 200)
    assert many.json()["detail"] == "the JSON holds more than 1 image can need"


def test_a_body_without_length_is_cut_at_the_limit() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000

    headers = {"content-type": "application/json"}
    answer = talk(
        lambda c: c.post("/v1/score", content=endless(), headers=headers), max_body=50_000
    )
    assert answer.status_code == 413
    assert sent < 100_000


def test_queue_is_bounded_and_the_rest_is_told_429() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        sent = [client.post("/v1/score", json=as_json(b"a")) for _ in range(10)]
        return await asyncio.gather(*sent)

    gate = Gate(4)
    answers = talk(body, Echo(wait=0.1), gate)
    assert sorted(a.status_code for a in answers) == [200] * 4 + [429] * 6
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert gate.open == 0


def test_time_limit() -> None:
    gate = Gate(4)
    answer = talk(
        lambda c: c.post("/v1/score", json=as_json(b"a")), Echo(wait=5), gate, timeout=0.05
    )
    assert answer.status_code == 504
    assert gate.open == 0


def test_keys() -> None:
    key = "0123456789abcdef"

    async def body(client: httpx.AsyncClient) -> list[int]:
        sent: list[dict[str, str]] = [
            {},
            {"x-api-key": key[:-1]},
            {"authorization": "Bearer wrong"},
            {"x-api-key": key},
            {"authorization": f"bearer {key}"},
        ]
        codes = [
            (await client.post("/v1/score", json=as_json(b"a"), headers=headers)).status_code
            for headers in sent
        ]
        open_pages = [(await client.get(page)).status_code for page in ("/healthz", "/readyz")]
        return [*codes, *open_pages, (await client.get("/metrics")).status_code]

    assert talk(body, api_keys=(key, "another-key-0000")) == [
        401,
        401,
        401,
        200,
        200,
        200,
        200,
        401,
    ]


def test_draining_ends_what_is_open_and_takes_nothing_new() -> None:
    gate = Gate(4)

    async def body(client: httpx.AsyncClient) -> Any:
        opened = asyncio.create_task(client.post("/v1/score", json=as_json(b"a")))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(drained(gate, 5))
        await asyncio.sleep(0.05)
        late = await client.post("/v1/score", json=as_json(b"a"))
        ready = await client.get("/readyz")
        return (await opened).status_code, late.status_code, ready.status_code, await closing

    assert talk(body, Echo(wait=0.3), gate) == (200, 503, 503, 0)
    stuck = Gate(1)
    stuck.open = 1
    assert asyncio.run(drained(stuck, 0.1)) == 1


def test_the_page_of_the_service_loads_nothing_and_names_every_route() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        return await client.get("/docs"), await client.get("/openapi.json")

    page, description = talk(body, api_keys=("0123456789abcdef",))
    assert page.status_code == 200
    assert not re.search(r"<script|<link|src=|url\(|@import", page.text)
    paths = description.json()["paths"]
    assert all(f"{html.escape(path)}</code>" in page.text for path in paths)
    assert "X-API-Key: $KEY" in html.unescape(page.text)
    assert "http://test/v1/score" in page.text
    content = paths["/v1/score"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain"}
    assert "503" in paths["/readyz"]["get"]["responses"]


def test_every_answer_is_as_the_openapi_document_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    asked = [
        (200, {"json": as_json(b"a")}),
        (200, {"files": files(b"a", b"bad")}),
        (422, {"files": files(b"bad")}),
        *((status, request_) for status, request_ in WRONG if status != 413),
        (413, {"files": files(*[b"a"] * 17)}),
    ]

    async def body(client: httpx.AsyncClient) -> Any:
        document = (await client.get("/openapi.json")).json()
        return document, [await client.post("/v1/score", **sent) for _, sent in asked]

    document, answers = talk(body, Full())
    described = document["paths"]["/v1/score"]["post"]["responses"]
    for (status, _), answer in zip(asked, answers, strict=True):
        assert answer.status_code == status
        schema = described[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), schema | {"components": document["components"]})
    assert {"401", "429", "503", "504"} < set(described)


def test_a_picture_goes_to_another_replica_when_one_dies() -> None:
    class DiedError(Exception):
        pass

    calls = 0

    async def call() -> dict[str, int]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise DiedError
        return {"ok": 1}

    assert asyncio.run(with_retries(call, 3, DiedError)) == {"ok": 1}
    calls = -100
    with pytest.raises(Refused, match="workers that had this image died"):
        asyncio.run(with_retries(call, 0, DiedError))


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="fewer than 16 characters"):
        ServiceSettings(api_keys=("short",))
    with pytest.raises(ConfigError, match="max_queue is 0"):
        ServiceSettings(max_queue=0)
    with pytest.raises(ConfigError, match="drain is -1"):
        ServiceSettings(drain=-1)
    monkeypatch.setenv("DIFFAGIQA_API_KEYS", " one-key-0123456, two-key-0123456,")
    assert keys_from_environment() == ("one-key-0123456", "two-key-0123456")
