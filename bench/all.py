"""Every benchmark in turn, and their table in bench/README.md."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import common

HERE = Path(__file__).parent
SCRIPTS = ("pipeline", "steps", "large", "growth", "overhead")
MARK = "<!-- what follows is written by bench/all.py -->\n"


def main(*names: str) -> None:
    """Run the named ones, all where none is named; each in a process of its own."""
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    for name in names or SCRIPTS:
        subprocess.run([sys.executable, "-W", "ignore", HERE / f"{name}.py"], check=True, env=environment)
    write()


def write() -> None:
    """Write the table of what is in bench/results."""
    page = HERE / "README.md"
    head = page.read_text(encoding="utf-8").split(MARK)[0]
    parts = []
    for name in SCRIPTS:
        file = common.RESULTS / f"{name}.json"
        if file.exists():
            content = json.loads(file.read_text(encoding="utf-8"))
            machine = content.pop("machine")
            words = {"cores": "{} cores", "python": "Python {}"}
            where = ", ".join(words.get(key, "{}").format(value) for key, value in machine.items())
            parts.append(f"## {name.capitalize()}\n\n{where}\n\n{_table(content)}")
    if (common.RESULTS / "growth.png").exists():
        parts.append("![Time and memory by the number of images](results/growth.png)")
    page.write_text(f"{head}{MARK}\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _table(content: dict[str, Any]) -> str:
    """Flatten nested mappings into tables; mappings with the same keys become the rows of one table."""
    alike: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    for above, values in _rows(content, ()):
        alike.setdefault(tuple(values), {})[" / ".join(above)] = list(values.values())
    single = [
        (f"{above} / {name}" if above else name, value)
        for names, rows in alike.items()
        if len(rows) == 1
        for above, values in rows.items()
        for name, value in zip(names, values, strict=True)
    ]
    tables = [_markdown(("", ""), single)] if single else []
    for names, rows in alike.items():
        if len(rows) > 1:
            tables.append(_markdown(("", *names), [(above, *values) for above, values in rows.items()]))
    return "\n\n".join(tables)


def _rows(content: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path to each mapping, and the mapping's values that are no mappings."""
    values = {key: value for key, value in content.items() if not isinstance(value, dict)}
    if values:
        yield above, values
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _rows(value, (*above, key))


def _markdown(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
