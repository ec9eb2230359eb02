"""Every benchmark in turn, and their table in bench/README.md."""

import json
import os
import subprocess
import sys
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
            where = ", ".join(f"{value} {key}" if key == "cores" else str(value) for key, value in machine.items())
            parts.append(f"## {name.capitalize()}\n\n{where}\n\n{_table(content)}")
    if (common.RESULTS / "growth.png").exists():
        parts.append("![Time and memory by the number of images](results/growth.png)")
    page.write_text(f"{head}{MARK}\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _table(content: dict[str, Any]) -> str:
    rows = [f"| {' / '.join(keys)} | {value} |" for keys, value in _flat(content)]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _flat(content: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in content.items():
        found += _flat(value, (*above, key)) if isinstance(value, dict) else [((*above, key), value)]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
