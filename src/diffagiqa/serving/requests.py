"""Bodies of requests -> images and prompts, within the limits; faults carry their HTTP status."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffagiqa.data.prompts import MAX_PROMPT_CHARACTERS, clean_prompt
from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.serving.settings import ServiceSettings

WHITESPACE = b" \t\n\r\f\v"
"""Of ASCII: base64's own program and MIME break its lines."""


GONE = "the client went away before its request was whole"
"""Nobody hears it; the metrics count it."""


class Refused(Exception):  # noqa: N818  # an answer to the client
    """A request that is answered with an error: status and one sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Item(NamedTuple):
    """One image of a request: its bytes, and its prompt where one was given."""

    data: bytes
    prompt: str | None


class BodyLimit:
    """ASGI middleware that reads no more of a body than is allowed, declared or not."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = 0
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most:
            seen = self.most + 1  # refused at the first read, so that no byte of it is kept

        async def limited() -> Message:
            nonlocal seen
            if seen > self.most:
                raise Refused(413, f"the body is over {self.most:,} bytes, which is the limit")
            try:
                message = await receive()
            except Exception:  # Serve may say so by an error of its own, where it loses the client
                raise Refused(499, GONE) from None
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise Refused(413, f"the body is over {self.most:,} bytes, which is the limit")
            return message

        await self.app(scope, limited, send)


def check_key(request: Request, settings: ServiceSettings) -> None:
    """401 unless the request shows one of the keys, in time that tells nothing about them."""
    if not settings.api_keys:
        return
    shown = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        shown = token
    given = shown.encode("utf-8", "replace")
    matches = [hmac.compare_digest(given, key.encode()) for key in settings.api_keys]
    if not any(matches):
        raise Refused(401, "no valid API key; send X-API-Key: KEY or Authorization: Bearer KEY")


async def read_items(request: Request, settings: ServiceSettings) -> list[Item]:
    """The images of a multipart or JSON request, in order."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            items = await _multipart(request, settings)
        elif kind == "application/json":
            items = _from_json(await request.body(), settings.max_images)
        else:
            raise Refused(415, "expected multipart/form-data or application/json")
    except ClientDisconnect:
        raise Refused(499, GONE) from None
    if not items:
        raise Refused(422, "no image was given; send a file field 'image' or a list 'images'")
    if len(items) > settings.max_images:
        raise Refused(413, f"{len(items)} images were sent, and the limit is {settings.max_images}")
    for item in items:
        if len(item.data) > settings.limits.max_bytes:
            raise Refused(413, f"an image is over {settings.limits.max_bytes:,} bytes")
    return items


async def _multipart(request: Request, settings: ServiceSettings) -> list[Item]:
    most = settings.max_images
    try:
        form = await request.form(
            max_files=most + 1, max_fields=most + 1, max_part_size=4 * MAX_PROMPT_CHARACTERS
        )
    except (HTTPException, ValueError, KeyError) as fault:  # the first is Starlette's own
        reason = printable(str(getattr(fault, "detail", fault))[:200])
        raise Refused(400, f"the multipart body cannot be read ({reason})") from None
    try:
        files = [value for name, value in form.multi_items() if name == "image"]
        prompts = [value for name, value in form.multi_items() if name == "prompt"]
        if not all(isinstance(value, UploadFile) for value in files):
            raise Refused(422, "field 'image' is no file; send it with a file name")
        if not all(isinstance(value, str) for value in prompts):
            raise Refused(422, "field 'prompt' is a file; send it as text")
        return [
            Item(await file.read(), _cleaned(prompt))  # type: ignore[union-attr]
            for file, prompt in zip(files, _spread(prompts, len(files)), strict=True)
        ]
    finally:
        await form.close()


def _spread(prompts: Sequence[Any], count: int) -> list[str | None]:
    if not prompts:
        return [None] * count
    if len(prompts) == 1:
        return [str(prompts[0])] * count
    if len(prompts) != count:
        raise Refused(
            422,
            f"{counted(len(prompts), 'prompt')} for {counted(count, 'image')}; send one, or one each",
        )
    return [str(prompt) for prompt in prompts]


def _from_json(body: bytes, max_images: int) -> list[Item]:
    # A body of 60 MB may hold 20 million objects, which take gigabytes and seconds to make. Base64 has
    # none of these marks, and so many prompts of the longest kind have no more of them.
    most = max_images * (MAX_PROMPT_CHARACTERS + 100)
    if sum(map(body.count, (b"{", b"[", b","))) > most:
        raise Refused(413, f"the JSON holds more than {counted(max_images, 'image')} can need")
    try:
        content = json.loads(body, strict=False)  # a shell puts base64's line breaks in as they are
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        prompt = content.get("prompt")
        return [_json_item(entry, prompt) for entry in content["images"]]
    return [_json_item(content)]


def _cleaned(prompt: Any) -> str | None:
    """A prompt as it was sent, or None for none -> the prompt that is scored."""
    if prompt is None:
        return None
    if not isinstance(prompt, str):
        raise Refused(422, "a prompt is no text")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise Refused(413, f"a prompt is over {MAX_PROMPT_CHARACTERS:,} characters")
    return clean_prompt(prompt)


def _json_item(entry: Any, shared_prompt: Any = None) -> Item:
    if not isinstance(entry, dict):
        raise Refused(422, "an entry of 'images' is no object; send image (base64) and prompt")
    image, prompt = entry.get("image"), entry.get("prompt")
    prompt = _cleaned(shared_prompt if prompt is None else prompt)
    if not isinstance(image, str):
        raise Refused(422, "an entry has no 'image'; send the file's bytes in base64")
    image = image.lstrip()
    if image[:5].lower() == "data:":
        image = image.partition(",")[2]
    try:
        lines = image.encode("ascii").translate(None, WHITESPACE)
        return Item(base64.b64decode(lines, validate=True), prompt)
    except (binascii.Error, ValueError):
        raise Refused(422, "an 'image' is not base64") from None
