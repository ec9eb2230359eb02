"""A clone of the working tree to run the real DVC in."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.hydra import compose_and_dump

ROOT = Path(__file__).parents[1]
# Seconds after which a command is taken to hang.
PATIENCE = 900


@dataclass(frozen=True)
class Workspace:
    """A git repository with the project's files, and the environment its commands run in."""

    path: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command there and return what it printed; it must exit with `code`, in less than PATIENCE."""
        done = subprocess.run(
            command, cwd=self.path, env=self.environment, text=True, capture_output=True, check=False, timeout=PATIENCE
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, f"{' '.join(command)} exited with {done.returncode}:\n{output[-6000:]}"
        return output

    def compose(self, *overrides: str) -> dict[str, Any]:
        """Write params.yaml with some overrides, and return what it holds."""
        compose_and_dump(self.path / "params.yaml", str(self.path / "conf"), None, "config", "", list(overrides))
        content: dict[str, Any] = yaml.safe_load((self.path / "params.yaml").read_text())
        return content

    def select(self, runs: tuple[str, ...]) -> None:
        """Keep some runs in params.yaml, with what they need."""
        params = yaml.safe_load((self.path / "params.yaml").read_text())
        for section in ("runs", "finetuned", "exported"):
            params[section] = {name: value for name, value in params[section].items() if name in runs}
        studies = {run["study"] for run in params["runs"].values()}
        params["studies"] = {name: value for name, value in params["studies"].items() if name in studies}
        params["external"] = {name: value for name, value in params["external"].items() if value["study"] in studies}
        for study in {"faces", "xray"} - studies:
            params.pop(f"{study}_data", None)
        for ablation in params["ablations"].values():
            ablation["runs"] = {name: value for name, value in ablation["runs"].items() if name in runs}
        params["ablations"] = {name: value for name, value in params["ablations"].items() if value["runs"]}
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def set_before(setting: str, *command: str) -> list[str]:
    """A command before which its process runs a line of Python; `preexec_fn` may hang, since there are threads here."""
    return [sys.executable, "-c", f"import os, sys; {setting}; os.execvp(sys.argv[1], sys.argv[1:])", *command]


def with_small_files(*command: str) -> list[str]:
    """A command that may write no file of more than 3000 bytes."""
    return set_before("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))", *command)


def clone(target: Path, cache: Path | None = None) -> Workspace:
    """Copy every file that git tracks or would track, and commit it there; DVC's cache starts as a copy of `cache`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and name != "dvc.lock" and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    if cache:
        shutil.copytree(cache, target / ".dvc/cache")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "GIT", "PYTEST"))}
    author = {
        f"GIT_{role}_{field}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    workspace = Workspace(target, own | author | quiet)
    workspace.run("git", "init", "--quiet", "--initial-branch=main")
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message=start")
    return workspace
