"""Writes what the pages say of code and settings, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python docs/generate.py` in the repository's root rewrites them, and the figure of the README; tests/test_docs.py
fails where one is not current.
"""

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cnnstudy.cli import command_line
from cnnstudy.config.messages import MOVED, RENAMED
from cnnstudy.config.schema import Params

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What an entry of a mapping is called in a dotted key.
ENTRIES = {"external": "set", "studies": "study", "policies": "policy", "ablations": "ablation"}
PICTURE = ROOT / "docs/finding.png"


def pages() -> dict[Path, str]:
    """Return the current text of every page with a generated part."""
    found = {}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if MARKED.search(text):
            found[page] = MARKED.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]().strip()}\n\n{match[3]}", text)
    return found


def stages() -> str:
    """Return the page of dvc.yaml's stages: inputs, outputs, and the parameters and code that run a stage again."""
    parts = []
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        entry = stage.get("foreach", "").strip("${}")
        owner = ENTRIES.get(entry, "run")
        body = stage.get("do", stage)
        deps = [_filled(each, owner) for each in body["deps"]]
        groups = {
            "code": [each for each in deps if each.startswith("src/")],
            "files": [each for each in deps if not each.startswith("src/")],
            "parameters": [_filled(each, owner) for each in body.get("params", [])],
            "writes": [_filled(each, owner) for each in _names(body.get("outs", []) + body.get("metrics", []))]
            + [_filled(each, owner) for each in _names(body.get("plots", []))],
        }
        lines = [f"- {label}: {', '.join(f'`{each}`' for each in names)}" for label, names in groups.items() if names]
        heading = f"{name}@<{owner}>" if entry else name
        parts.append("\n".join([f"### `{heading}`\n", body["desc"], "", *lines]))
    return "\n\n".join(parts)


def _filled(text: str, owner: str) -> str:
    text = text.replace("${key}", f"<{owner}>").replace("${item.source.path}", "the source's path")
    return re.sub(r"\$\{item\.(\w+)\}", lambda match: f"<{match[1]}>", text)


def _names(outs: list[Any]) -> list[str]:
    return [next(iter(each)) if isinstance(each, dict) else each for each in outs]


def parameters() -> str:
    """Return a table of the sections and keys of params.yaml with their allowed values, from the schema."""
    schema = Params.model_json_schema()
    return "\n\n".join(_sections(schema, schema["$defs"], ""))


def _sections(section: dict[str, Any], known: dict[str, Any], prefix: str) -> Iterator[str]:
    rows, below = ["| key | allowed |", "| --- | --- |"], []
    for key, field in section["properties"].items():
        name, found = _section_of(key, field)
        if found:
            below.append((f"{prefix}{name}", known[found]))
        optional = f"; {json.dumps(field['default'])} if left out" if "default" in field else ""
        rows.append(f"| `{prefix}{key}` | {_allowed(field)}{optional} |")
    heading = f"### `{prefix.rstrip('.')}`" if prefix else "### The top level"
    yield "\n\n".join([heading, section["description"], "\n".join(rows)])
    for name, each in below:
        yield from _sections(each, known, f"{name}.")


def _section_of(key: str, field: dict[str, Any]) -> tuple[str, str]:
    """Return the dotted name and the definition of the section that a field holds, or ''."""
    for each in field.get("anyOf", [field]):
        if "$ref" in each:
            return key, each["$ref"].rsplit("/", 1)[1]
        values = _values(each)
        if "$ref" in values:
            return f"{key}.<{ENTRIES.get(key, 'run')}>", values["$ref"].rsplit("/", 1)[1]
    return key, ""


def _values(field: dict[str, Any]) -> dict[str, Any]:
    """Return what a mapping holds, {} where that is not said."""
    values = next(iter(field.get("patternProperties", {}).values()), None) or field.get("additionalProperties")
    return values if isinstance(values, dict) else {}


def _allowed(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        kinds = [
            each for each in field["anyOf"] if each.get("type") != "integer" or {"type": "number"} not in field["anyOf"]
        ]
        return " or ".join(dict.fromkeys(map(_allowed, kinds)))
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "$ref" in field:
        return "a section"
    kind = field.get("type", "anything")
    if kind == "array":
        return f"a list of: {_allowed(field['items'])}"
    if kind == "object":
        values = _values(field)
        return f"for each name {_allowed(values)}" if values else "names with values"
    words = {"integer": "an integer", "number": "a number", "string": "text", "boolean": "true or false"}
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {field[name]:,}" for name, word in bounds.items() if name in field]
    return " ".join([words.get(kind, kind), *limits])


def commands() -> str:
    """Return the page of commands, from `cnnstudy COMMAND --help`."""
    listed = re.findall(r"^    ([a-z]+)", _help(), re.MULTILINE)
    return "\n\n".join(f"### `cnnstudy {name}`\n\n```text\n{_help(name)}\n```" for name in listed)


def _help(*command: str) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "110"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            command_line().parse_args([*command, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    # As Python 3.13 writes an option of two names; columns depend on the version too.
    text = re.sub(r"(-\w) ([A-Z]+), (--\w+ \2)", r"\1, \3", printed.getvalue())
    return re.sub(r"(\S) {2,}", r"\1  ", text).strip()


def targets() -> str:
    """Return a table of the Makefile's targets with their descriptions."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rows = re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE)
    return "\n".join(["| command | does |", "| --- | --- |", *(f"| `make {name}` | {text} |" for name, text in rows)])


def renamed() -> str:
    """Return a table of renamed keys, from the patterns that recognise the old names."""
    rows = [*MOVED.items(), *(pair for old, new in RENAMED for pair in _examples(old, new))]
    return "\n".join(["| version 0.1 | now |", "| --- | --- |", *(f"| `{old}` | `{new}` |" for old, new in rows)])


def _examples(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Return each key that a pattern stands for, with a name for each part that may be anything."""
    alternatives = re.search(r"\(([a-z_]+(?:\|[a-z_]+)+)\)", old)
    if alternatives:
        group = old[: alternatives.start()].count("(") - old[: alternatives.start()].count("(?") + 1
        for each in alternatives[1].split("|"):
            # The other groups keep their numbers.
            chosen = old[: alternatives.start()] + f"({each})" + old[alternatives.end() :]
            yield from _examples(chosen, new.replace(f"\\{group}", each))
        return
    name = "<run>" if old.startswith(("runs", "(runs", "(finetuned")) else "<study>"
    text = old.replace(r"(?=\.|$)", "").replace("([^.]+)", name).replace("([a-z]+)", name).replace(r"\.", ".")
    yield re.sub(r"[()]", "", text), re.sub(r"\\\d", name, new)


def benchmarks() -> str:
    """Return the text of bench/README.md with headings one level lower."""
    text = (ROOT / "bench/README.md").read_text(encoding="utf-8").partition("\n")[2]
    kept = [line for line in text.splitlines() if not line.startswith(("!", "<!--"))]
    return re.sub(r"^## ", "### ", "\n".join(kept), flags=re.MULTILINE).replace("`results/`", "`bench/results/`")


PARTS = {
    "stages": stages,
    "parameters": parameters,
    "commands": commands,
    "targets": targets,
    "renamed": renamed,
    "benchmarks": benchmarks,
}


def pictured() -> dict[str, list[float]]:
    """Return the numbers of the README's figure: {X-ray run: accuracies with moving and re-estimated statistics}."""
    found = {}
    for name in ("augmentation", "depth"):
        content = json.loads((ROOT / f"metrics/ablations/{name}.json").read_text(encoding="utf-8"))
        split = content["split"]
        for row in content["rows"]:
            found[row["run"]] = [round(row[f"{split}_accuracy_{way}"], 3) for way in ("moving", "recalibrated")]
    return found


def draw() -> None:
    """Draw the README's figure, with the numbers in the file's description."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    numbers = pictured()
    figure = Figure(figsize=(8.4, 3.4), dpi=100, layout="constrained")
    images, axes = figure.subplots(1, 2, width_ratios=(1, 2.6))
    images.imshow(_sheet())
    images.set_title("Synthetic images", fontsize=10, loc="left")
    images.axis("off")
    places = range(len(numbers) - 1, -1, -1)
    for place, (moving, recalibrated) in zip(places, numbers.values(), strict=True):
        axes.plot([moving, recalibrated], [place, place], color="#b8c0cc", linewidth=2, zorder=1)
    moving, recalibrated = zip(*numbers.values(), strict=True)
    axes.scatter(moving, places, color="#c2410c", label="moving averages", zorder=2)
    axes.scatter(recalibrated, places, color="#1d4ed8", label="re-estimated", zorder=2)
    axes.axvline(0.5, color="#6b7280", linewidth=0.8, linestyle=":")
    axes.set_yticks(list(places), list(numbers), fontsize=8)
    axes.set_xlim(0.45, 1.0)
    axes.set_title("Same weights, two kinds of BatchNorm statistics: accuracy on test X-rays", fontsize=10, loc="left")
    axes.legend(loc="upper right", fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with io.BytesIO() as drawn:
        FigureCanvasAgg(figure).print_png(drawn)
        described = PngInfo()
        described.add_text("Description", json.dumps(numbers))
        # Few colours: a third of the size.
        Image.open(drawn).convert("RGB").quantize(128).save(PICTURE, optimize=True, pnginfo=described)


def _sheet() -> Image.Image:
    """Return four faces above two X-rays, cut out of the sheets."""
    tiles = [("faces", 90 + 116 * column, 116 * row, 110) for row in (4, 7) for column in (1, 2)]
    tiles += [("xrays", 90, 0, 160), ("xrays", 90, 328, 160)]
    sheet = Image.new("RGB", (224, 338), "white")
    for number, (name, left, top, side) in enumerate(tiles):
        tile = Image.open(ROOT / f"docs/{name}.jpg").crop((left, top, left + side, top + side)).resize((110, 110))
        sheet.paste(tile, (114 * (number % 2), 114 * (number // 2)))
    return sheet


def main() -> None:
    """Rewrite what is not current."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
