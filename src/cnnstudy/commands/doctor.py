"""`cnnstudy doctor`: problems of this machine and workspace, one line each."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import cnnstudy
from cnnstudy.commands.sizes import GIB, disk_bytes, machine_memory, memory_bytes, shapes
from cnnstudy.config.compose import choices, composed
from cnnstudy.config.params import read_params
from cnnstudy.data.sources import refuse_special_files, require_sources
from cnnstudy.errors import UserError
from cnnstudy.workspace import committed, files, locked, paths, recovery
from cnnstudy.workspace.git import repository_problem
from cnnstudy.workspace.terminal import say

MISSING = "missing"
LOCK = Path("requirements.lock")
# Lock files of the extras: an installed package that only one of them has shows that the extra is installed.
EXTRA_LOCKS = (Path("requirements-gpu.lock"), Path("requirements-app.lock"))


@dataclass(frozen=True)
class Diagnosis:
    """A finding: `ok`, a `note` that needs no action, or something to `fix`; the text says what to do."""

    severity: Literal["ok", "note", "fix"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity:4}  {self.subject}: {self.text}"


def doctor() -> None:
    """Print a line for each finding: what is right, and what to do.

    Raises:
        SystemExit: with code 1, if something must be fixed.
    """
    found: list[Diagnosis] = []
    for finding in examine():
        say(str(finding))
        found.append(finding)
    if any(finding.severity == "fix" for finding in found):
        raise SystemExit(1)


def examine() -> Iterator[Diagnosis]:
    """Look at everything, the quick things first."""
    checks: list[Callable[[], Iterator[Diagnosis]]] = [_python, _packages, _git, _dvc, _parameters]
    checks += [_room, _checkpoints, _store, _tensorflow]
    for check in checks:
        yield from check()


def _python() -> Iterator[Diagnosis]:
    found, code = platform.python_version(), Path(cnnstudy.__file__).parent
    if Path("src/cnnstudy").is_dir() and not code.samefile("src/cnnstudy"):
        text = (
            f"this `cnnstudy` is the one in {code}, not the one here; `make setup` makes an environment for this folder"
        )
        yield Diagnosis("note", "Python", text)
    elif sys.prefix == sys.base_prefix:
        yield Diagnosis("note", "Python", f"{found}, not in a virtual environment; `make setup` creates .venv")
    else:
        yield Diagnosis("ok", "Python", f"{found} in {sys.prefix}")


def _packages() -> Iterator[Diagnosis]:
    if not LOCK.exists():
        yield Diagnosis("fix", "packages", f"no {LOCK} here; run cnnstudy in the repository's root")
        return
    lock = _installed_lock()
    pinned = locked.versions(lock)
    differing = [f"{name} {_installed(name)} (locked {wanted})" for name, wanted in pinned.items()
                 if _installed(name) != wanted]  # fmt: skip
    if differing:
        yield Diagnosis(
            "fix", "packages", f"{'; '.join(differing)}; `rm -r .venv && make setup` installs what is locked"
        )
    else:
        yield Diagnosis("ok", "packages", f"{len(pinned)} as in {lock}")


def _installed_lock() -> Path:
    """Return the lock file that this environment was made from: an extra's if one of its own packages is installed."""
    names = {lock: set(locked.versions(lock)) for lock in (LOCK, *EXTRA_LOCKS) if lock.exists()}
    for lock in (each for each in EXTRA_LOCKS if each in names):
        own = names[lock].difference(*(others for other, others in names.items() if other != lock))
        if any(_installed(name) != MISSING for name in own):
            return lock
    return LOCK


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


def _git() -> Iterator[Diagnosis]:
    if shutil.which("git") is None:
        yield Diagnosis("fix", "git", "not found; install it")
        return
    if problem := repository_problem():
        yield Diagnosis("fix", "git", problem)
        return
    head = _run("git", "rev-parse", "--short", "HEAD")
    edited = _run("git", "status", "--porcelain", "--", "src", "conf", "dvc.yaml").splitlines()
    if edited:
        text = f"{head}, with {len(edited)} uncommitted edits, which are not in a run's recorded commit"
        yield Diagnosis("note", "git", text)
    else:
        yield Diagnosis("ok", "git", head)


def _dvc() -> Iterator[Diagnosis]:
    found, own = shutil.which("dvc"), Path(sys.executable).with_name("dvc")
    if found is None or not own.exists() or not Path(found).samefile(own):
        yield Diagnosis("fix", "DVC", f"`dvc` is {found or 'not found'}; `. .venv/bin/activate` before you call it")
    elif merged := _merged():
        yield Diagnosis("fix", "DVC", merged)
    elif not recovery.lock_is_whole() or not recovery.rwlock_is_whole():
        yield Diagnosis("fix", "DVC", "a killed dvc left a torn file; `cnnstudy check` mends it")
    elif _run(found, "config", "hydra.enabled").lower() != "true":
        yield Diagnosis("fix", "DVC", "`dvc exp run -S` does not compose conf/; `dvc config hydra.enabled true`")
    else:
        yield _pipeline(found)


def _merged() -> str:
    """Return advice where dvc.lock holds both sides of a merge, else an empty string."""
    try:
        recovery.refuse_merge(recovery.read_lock())
    except UserError as error:
        return str(error)
    return ""


def _pipeline(dvc: str) -> Diagnosis:
    try:
        refuse_special_files(read_params())
    except UserError:  # reported with the parameters; DVC would hash a pipe forever
        return Diagnosis("note", "DVC", f"{version('dvc')}; not asked what would run")
    asked = subprocess.run([dvc, "status", "--json", "--no-updates"], capture_output=True, text=True, check=False)
    if asked.returncode:
        said = next((line for line in asked.stderr.splitlines() if line.startswith("ERROR")), "ERROR: no answer")
        if "Unable to acquire lock" in said or " is busy" in said:
            return Diagnosis("note", "DVC", f"{version('dvc')}; another dvc is at work here")
        return Diagnosis("fix", "DVC", f"dvc status says {said}")
    changed = json.loads(asked.stdout)
    state = f"{len(changed)} stages would run: {_some(changed)}" if changed else "everything is up to date"
    return Diagnosis("note" if changed else "ok", "DVC", f"{version('dvc')}; {state}")


def _parameters() -> Iterator[Diagnosis]:
    try:
        params = read_params()
        require_sources(params)
    except UserError as error:
        yield Diagnosis("fix", "parameters", str(error))
        return
    chosen = [f"{name}={value}" for name, value in choices(params).items()]
    found = files.flat(params.model_dump(exclude_unset=True))
    try:
        is_usual, wanted = found == composed([]), composed(chosen)
    except UserError as error:
        yield Diagnosis("fix", "parameters", str(error))
        return
    if is_usual:
        yield Diagnosis("ok", "parameters", f"params.yaml is what conf/ composes: {', '.join(chosen)}")
        return
    differing = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
    what = f"{', '.join(chosen)}{' and ' if differing else ''}{_some(differing)}"
    text = f"params.yaml has other settings than the default: {what}; `make params` restores the default"
    yield Diagnosis("note", "parameters", text)


def _room() -> Iterator[Diagnosis]:
    try:
        params = read_params()
    except UserError:
        return
    nets = shapes(params)
    needed, free = disk_bytes(params, nets), shutil.disk_usage(".").free
    text = f"about {_size(needed)} for data and models of profile {params.profile}, {_size(free)} free"
    yield Diagnosis("ok" if needed < free else "fix", "disk", text if needed < free else f"{text}; make room")
    net, needed = memory_bytes(params, nets)
    there = machine_memory()
    text = f"about {_size(needed)} for {net} of profile {params.profile}, {_size(there)} in this machine"
    less = f"{text}; a smaller batch_size or image_size needs less"
    yield Diagnosis("ok" if needed < there else "fix", "memory", text if needed < there else less)


def _checkpoints() -> Iterator[Diagnosis]:
    folders = sorted(path for path in paths.checkpoints().glob("*") if path.is_dir())
    for folder in folders:
        size = _size(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
        text = f"{folder.name}, {size}: an unfinished training; `dvc repro` resumes it, or remove the folder"
        yield Diagnosis("note", "checkpoint", text)


def _store() -> Iterator[Diagnosis]:
    from cnnstudy.tracking import store, write

    address = store.shown()
    if store.is_new():
        yield Diagnosis("ok", "MLflow", f"{address}: does not exist yet; the first run creates it")
        return
    store.configure()
    try:
        count = write.within(write.LIMIT, lambda: len(store.client().search_experiments()))
        yield Diagnosis("ok", "MLflow", f"{address}: {count} experiments")
    except Exception as error:  # whatever the store raises is what there is to say
        text = f"{address}: {write.cause(error)}; trainings go on without it, `cnnstudy track` records them later"
        yield Diagnosis("fix", "MLflow", text)


def _tensorflow() -> Iterator[Diagnosis]:
    from cnnstudy.training import environment

    try:
        threads = read_params().compute.threads
    except UserError:
        return
    try:
        environment.configure(threads)
    except ImportError as error:
        yield Diagnosis("fix", "TensorFlow", f"{error}; `make setup` installs it")
        return
    here = environment.facts(threads)
    devices = ", ".join(here["gpus"]) or "no GPU: it trains on the CPU"
    yield Diagnosis("ok", "TensorFlow", f"{here['packages']['tensorflow']}; {devices}")
    if not paths.ENVIRONMENT.exists():
        yield Diagnosis("ok", "same bits", f"no {paths.ENVIRONMENT} to compare with; the next training writes it")
        return
    try:
        now, then = files.flat(here), files.flat(json.loads(paths.ENVIRONMENT.read_text(encoding="utf-8")))
    except ValueError as error:
        mended = f"`git checkout {paths.ENVIRONMENT}` restores it"
        yield Diagnosis("fix", "same bits", f"{paths.ENVIRONMENT}: not JSON: {error}; {mended}")
        return
    known = [key for key in then if key.partition(".")[0] in here]  # an earlier version noted more
    differing = [_difference(key, now.get(key), then[key]) for key in known if now.get(key) != then[key]]
    if differing:
        text = "training here may give other bits than those in dvc.lock, and thus slightly different figures"
        yield Diagnosis("note", "same bits", f"{'; '.join(differing)}: {text}; that is normal")
    elif note := committed.machine_note():
        yield Diagnosis("note", "same bits", note)
    else:
        yield Diagnosis("ok", "same bits", f"system, CPU, threads and versions are those in {paths.ENVIRONMENT}")


def _difference(key: str, now: Any, then: Any) -> str:
    if isinstance(now, list) and isinstance(then, list):
        changes = {"without": sorted({*then} - {*now}), "with": sorted({*now} - {*then})}
        return f"{key} {' and '.join(f'{word} {_some(names)}' for word, names in changes.items() if names)}"
    return f"{key} {now} (was {then})"


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _some(names: Any, most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / (1 << 20):.0f} MiB"
