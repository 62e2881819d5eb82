"""The service's own description as a page without scripts: what ``/docs`` shows."""

from __future__ import annotations

import html
import json
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}pre{background:#f2f2f2;padding:.8rem;overflow-x:auto}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2rem .8rem .2rem 0;"
    "vertical-align:top}code{background:#f2f2f2}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#181818}"
    "pre,code{background:#2a2a2a}a{color:#8ab4f8}}"
)
EXAMPLES = """curl -F image=@fox.png -F 'prompt=a red fox' ADDRESS/v1/score
curl --json '{"images": [{"image": "'"$(base64 fox.png)"'"}], "prompt": "a red fox"}' ADDRESS/v1/score"""


def docs_page(document: dict[str, Any], address: str, keyed: bool) -> str:
    """An OpenAPI document -> HTML that loads nothing.

    Args:
        document: as FastAPI's ``openapi()`` gives it.
        address: of the service as the client sees it, for the examples.
        keyed: whether clients must show a key.
    """
    info, parts = document["info"], []
    examples = EXAMPLES.replace("ADDRESS", address)
    if keyed:
        examples = examples.replace("curl ", 'curl -H "X-API-Key: $KEY" ')
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            answers = "".join(
                f"<tr><th>{status}</th><td>{html.escape(answer.get('description', ''))}</td></tr>"
                for status, answer in sorted(route["responses"].items())
            )
            parts.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
                f"<p>{html.escape(route.get('summary', ''))}. "
                f"{html.escape(route.get('description', ''))}</p><table>{answers}</table>"
            )
            if body := route.get("requestBody"):
                shown = html.escape(json.dumps(body["content"], indent=2))
                parts.append(f"<details><summary>Body</summary><pre>{shown}</pre></details>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{info["title"]}</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        f"{STYLE}</style></head><body><h1>{info['title']} {info['version']}</h1>"
        f"<p>{html.escape(info['description'])}</p><pre>{html.escape(examples)}</pre>"
        f'{"".join(parts)}<p><a href="openapi.json">openapi.json</a></p></body></html>'
    )
