"""Has MkDocs show pages that lie in the repository's root beside those of docs/."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "LOG.md")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root."""
    from mkdocs.structure.files import File

    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Rewrite links between docs/ and the repository's root to the pages of the site."""
    for name in OUTSIDE:
        markdown = markdown.replace(f"](../{name}", f"]({name}").replace(f"](../../{name}", f"](../{name}")
    return markdown.replace("](docs/", "](")
