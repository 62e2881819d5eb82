"""For mkdocs: the model card and SECURITY.md become pages; each is kept once, at its own place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"model-card.md": "src/diffagiqa/weights/default/README.md", "security.md": "SECURITY.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs once the files are known; it reads the card's YAML header itself."""
    for name, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link that holds in the repository, made one that holds on the site."""
    return markdown.replace("](../SECURITY.md", "](security.md")
