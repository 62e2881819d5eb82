"""The service's HTTP side: routes, queue, time limit, metrics. It knows a backend, and no Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, create_model

from diffagiqa import __version__
from diffagiqa.data.wording import counted
from diffagiqa.rows import ANSWER
from diffagiqa.serving.metrics import Metrics
from diffagiqa.serving.page import docs_page
from diffagiqa.serving.requests import (
    BodyLimit,
    Refused,
    check_key,
    read_items,
)
from diffagiqa.serving.settings import ServiceSettings


class Backend(Protocol):
    """Scores one image: ``rows.ANSWER`` of it, with ``error`` where it cannot be scored."""

    async def score(self, data: bytes, prompt: str | None) -> Mapping[str, Any]: ...

    async def ready(self) -> bool: ...


class Gate:
    """Counts requests between their first byte and their answer, and closes for draining."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.draining = False

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Raise 503 while draining and 429 when full."""
        if self.draining:
            raise Refused(503, "the service is stopping")
        if self.open >= self.most:
            raise Refused(
                429,
                f"{counted(self.most, 'request is', 'requests are')} waiting already; try again",
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_IMAGE = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "format": "byte", "description": "The file in base64."},
        "prompt": _MAYBE_TEXT,
    },
    "required": ["image"],
}
SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "prompt": {
                            "type": "array",
                            "items": _TEXT,
                            "description": "One for all images, or one each; none: looked for "
                            "in the image's metadata.",
                        },
                    },
                }
            },
            "application/json": {
                "schema": {
                    "anyOf": [
                        {
                            "type": "object",
                            "required": ["images"],
                            "properties": {
                                "images": {"type": "array", "minItems": 1, "items": _IMAGE},
                                "prompt": _MAYBE_TEXT
                                | {"description": "Of the images that bring none of their own."},
                            },
                        },
                        _IMAGE,
                    ]
                }
            },
        },
    }
}


class Detail(BaseModel):
    """Why a request was refused."""

    detail: str


_TYPES: dict[str, Any] = {
    "scores": dict[str, float | None] | None, "mos": dict[str, float | None] | None,
    "seed": int | None,
}  # fmt: skip
ImageAnswer = create_model(  # type: ignore[call-overload]
    "ImageAnswer", **{name: (_TYPES.get(name, str | None), ...) for name in ANSWER}
)


class Answer(BaseModel):
    """What is said of every image, and what the model is not good for."""

    results: list[ImageAnswer]  # type: ignore[valid-type]
    notice: str


_REFUSALS = {
    400: "The body cannot be read.",
    401: "No valid API key.",
    413: "More than the limits allow.",
    415: "Neither multipart/form-data nor application/json.",
    429: "Too many requests are open; try again.",
    503: "The service is stopping, or its workers died; try again.",
    504: "It took too long.",
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Some images were scored.", "model": Answer},
    422: {"description": "No image was scored, and why.", "model": Answer | Detail},
    **{status: {"description": text, "model": Detail} for status, text in _REFUSALS.items()},
}


def build_app(
    backend: Backend, settings: ServiceSettings, gate: Gate | None = None, notice: str = ""
) -> FastAPI:
    """The ASGI application around a backend; every answer holds ``notice``."""
    gate = gate or Gate(settings.max_queue)
    metrics = Metrics(gate.most, lambda: gate.open)
    app = FastAPI(
        title="diffagiqa",
        version=__version__,
        description="Perceptual quality of AI-generated images, and their agreement with prompts."
        + f" {notice}" * bool(notice),
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, most=settings.max_body)

    @app.exception_handler(Refused)
    async def refused(_: Request, fault: Refused) -> JSONResponse:
        headers = {"Retry-After": "1"} if fault.status in (429, 503) else None
        return JSONResponse({"detail": fault.detail}, fault.status, headers)

    @app.post(
        "/v1/score", openapi_extra=SCHEMA, responses=ANSWERS, summary="Score one or more images"
    )
    async def score(request: Request) -> JSONResponse:
        """Scores in [0, 1] and on the MOS scale, per image; faults of an image in its ``error``."""
        answer = partial(_score, request, backend, settings, gate, metrics, notice)
        return await metrics.timed(answer)  # type: ignore[no-any-return]

    @app.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    unready = {"description": "No model runs, or the service is stopping."}

    @app.get("/readyz", summary="A model runs and requests are taken", responses={503: unready})
    async def readyz() -> JSONResponse:
        ready = not gate.draining and await backend.ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    @app.get(
        "/metrics",
        summary="Prometheus metrics; with keys set, they want one, too",
        response_class=PlainTextResponse,
        responses={401: ANSWERS[401]},
    )
    async def show_metrics(request: Request) -> Response:
        check_key(request, settings)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(docs_page(app.openapi(), address, bool(settings.api_keys)))

    return app


async def _score(
    request: Request,
    backend: Backend,
    settings: ServiceSettings,
    gate: Gate,
    metrics: Metrics,
    notice: str,
) -> JSONResponse:
    check_key(request, settings)
    async with gate.enter():
        try:
            results = await asyncio.wait_for(_answer(request, backend, settings), settings.timeout)
        except (TimeoutError, asyncio.TimeoutError):
            raise Refused(504, f"the answer took over {settings.timeout:g} s") from None
    failed = sum(bool(result["error"]) for result in results)
    metrics.count_images(len(results) - failed, failed)
    said = {"results": results, "notice": notice}
    return JSONResponse(said, 422 if failed == len(results) else 200)


async def _answer(
    request: Request, backend: Backend, settings: ServiceSettings
) -> list[Mapping[str, Any]]:
    items = await read_items(request, settings)
    return await asyncio.gather(*(backend.score(item.data, item.prompt) for item in items))


async def with_retries(
    call: Callable[[], Awaitable[Mapping[str, Any]]],
    retries: int,
    lost: type[BaseException] | tuple[type[BaseException], ...],
) -> Mapping[str, Any]:
    """Try again where a replica died with the image; scoring twice gives the same score."""
    for attempt in range(retries + 1):
        try:
            return await call()
        except lost:
            if attempt == retries:
                raise Refused(503, "the workers that had this image died; try again") from None
            await asyncio.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


async def drained(gate: Gate, seconds: float) -> int:
    """Close the gate and wait until requests have ended or the time is over; how many are left."""
    gate.draining = True
    until = time.monotonic() + seconds
    while gate.open and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return gate.open
