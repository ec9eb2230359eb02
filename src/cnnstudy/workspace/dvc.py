"""DVC's operations for this project; the only module that imports `dvc`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.git import git

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class BusyError(UserError):
    """Another `dvc` is at work here."""


@dataclass(frozen=True)
class Plan:
    """Stages that are not up to date, each with the outdated stages it needs, and all stages in DVC's order."""

    needs: dict[str, set[str]]
    order: list[str]


@contextmanager
def user_errors(subject: str, allowed: str) -> Iterator[None]:
    """Turn DVC's exceptions into a UserError, `<subject>: <DVC's message>; allowed: <allowed>`.

    Raises:
        BusyError: another `dvc` is at work here.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        yield
    except LockError as error:
        raise _busy(error) from None
    except DvcException as error:
        raise UserError(f"{subject}: {' '.join(str(error).split())}; allowed: {allowed}") from None


@contextmanager
def repository_lock() -> Iterator[None]:
    """Hold the lock that DVC holds while it reads and writes dvc.lock.

    Raises:
        TimeoutError: another process holds it for longer than the three seconds that DVC waits.
    """
    from dvc.lock import LockError, make_lock

    paths.DVC_LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = make_lock(str(paths.DVC_LOCK))
    try:
        lock.lock()
    except LockError:
        raise TimeoutError(f"{paths.DVC_LOCK}: held by another process") from None
    try:
        yield
    finally:
        lock.unlock()


def plan(targets: list[str]) -> Plan:
    """Find the stages that are not up to date, among all or among `targets` and what they need.

    Raises:
        UserError: a target is not a stage, or DVC can't read its files.
        BusyError: another `dvc` is at work here.
    """
    import networkx
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    with Repo() as repo:
        with user_errors("dvc.yaml or dvc.lock", "what DVC can read"):
            graph = repo.index.graph
        with user_errors("STAGE", "what `dvc stage list` lists"):
            wanted = [stage for target in targets for stage in repo.stage.collect(target)] or list(graph)
        within = set(wanted).union(*(networkx.descendants(graph, stage) for stage in wanted))
        try:
            changed = set(repo.status(check_updates=False))  # imports stay at their commit, as in `dvc repro`
        except LockError as error:
            raise _busy(error) from None
        stale = {stage for stage in within if stage.addressing in changed}
        stale = stale.union(*(networkx.ancestors(graph, stage) & within for stage in stale))
        needs = {
            stage.addressing: {other.addressing for other in networkx.descendants(graph, stage) & stale}
            for stage in stale
        }
        return Plan(needs, [stage.addressing for stage in plan_repro(graph)])


def _busy(error: Exception) -> BusyError:
    cause = " ".join(str(error).partition("\n\n")[0].split())
    return BusyError(f"another dvc is at work here: {cause}; allowed: one at a time")


def dependencies(stage: str) -> tuple[list[Path], list[str]]:
    """Return the files and folders of this repository that a stage depends on, and the keys of its parameters.

    Raises:
        UserError: DVC can't read dvc.yaml.
    """
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo() as repo:
        with user_errors("dvc.yaml: edited meanwhile", "what DVC can read"):
            (found,) = repo.stage.collect(stage)
        root = Path(repo.root_dir)
        keys = [key for dep in found.deps if isinstance(dep, ParamsDependency) for key in dep.params]
        files = [Path(dep.fs_path) for dep in found.deps if not isinstance(dep, ParamsDependency)]
    return [path.relative_to(root) for path in files if path.is_relative_to(root)], keys


def lock_entries(stages: list[str]) -> list[dict[str, Any]]:
    """Return the entries that dvc.lock would have for stages if they ran now, without files that do not exist yet.

    Raises:
        UserError: DVC can't read dvc.yaml.
    """
    from dvc.repo import Repo
    from dvc.stage.serialize import to_single_stage_lockfile

    with user_errors("dvc.yaml", "what DVC can read"), Repo() as repo:
        found = [stage for name in stages for stage in repo.stage.collect(name)]
        for stage in found:
            stage.save_deps(allow_missing=True)
        return [to_single_stage_lockfile(stage) for stage in found]


@dataclass(frozen=True)
class Needs:
    """The inputs of a stage from other stages: their names, and their outputs, relative to the repository's root."""

    stages: tuple[str, ...]
    outputs: tuple[str, ...]


def needs(stages: Iterable[str]) -> dict[str, Needs]:
    """Return what each of some stages reads from other stages; DVC must store all outputs of both."""
    from dvc.repo import Repo

    wanted = set(stages)
    with Repo() as repo:
        graph, root = repo.index.graph, Path(repo.root_dir)
        found = {}
        for stage in graph:
            if stage.addressing in wanted:
                assert all(out.use_cache for out in stage.outs), stage.addressing
                dependencies = [Path(dep.fs_path) for dep in stage.deps]
                read = {
                    Path(out.fs_path).relative_to(root).as_posix(): other.addressing
                    for other in graph.successors(stage)
                    for out in other.outs
                    if any(files.overlap(Path(out.fs_path), dep) for dep in dependencies)
                }
                found[stage.addressing] = Needs(tuple(sorted(set(read.values()))), tuple(sorted(read)))
    return found


def remote_address(name: str) -> str:
    """Return the address of a DVC remote.

    Raises:
        UserError: DVC's configuration has no such remote.
    """
    from dvc.repo import Repo

    with Repo() as repo:
        remotes = repo.config["remote"]
    if name not in remotes:
        allowed = ", ".join(remotes) or "one that `dvc remote add` has added"
        raise UserError(f"--remote: {name!r} found; allowed: {allowed}")
    return str(remotes[name]["url"])


def cache_folder() -> str:
    """Return the folder of DVC's cache."""
    from dvc.repo import Repo

    with Repo() as repo:
        return str(Path(repo.cache.local_cache_dir).resolve())


def push(stages: list[str], remote: str) -> None:
    """Store the outputs of stages in a remote.

    Raises:
        UserError: the remote can't be reached, or does not take them.
        BusyError: another `dvc` is at work here.
    """
    from dvc.repo import Repo

    with Repo() as repo, _storage_errors(remote):
        repo.push(targets=stages, remote=remote)


def receive(stages: list[str], remote: str) -> set[str]:
    """Bring the outputs of stages to the state of dvc.lock, and return the stages that are out of date even so.

    The outputs come from a remote, or from the cache if `remote` is ''.

    Raises:
        UserError: the remote can't be reached, or lacks an output.
        BusyError: another `dvc` is at work here.
    """
    from dvc.repo import Repo

    with Repo() as repo, _storage_errors(remote):
        if remote:
            repo.fetch(targets=stages, remote=remote)
        repo.checkout(targets=stages, force=True)
        return set(repo.status(targets=stages))


@contextmanager
def _storage_errors(remote: str) -> Iterator[None]:
    """Turn errors of a remote or of the cache into a UserError; each kind of remote has its own exceptions."""
    from dvc.exceptions import DvcException

    place, allowed = f"--remote {remote}" if remote else "DVC's cache", "a storage that can be read and written"
    with user_errors(place, allowed):
        try:
            yield
        except DvcException:
            raise
        except Exception as error:
            raise UserError(f"{place}: {' '.join(str(error).split())[:200]}; allowed: {allowed}") from error


def compose(target: Path, config: Path, overrides: list[str]) -> None:
    """Compose the Hydra configuration in `config` with overrides and write it to `target`, as `dvc exp run -S` does."""
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(str(target), str(config.resolve()), None, "config", "", overrides)


@lru_cache
def caches(folder: Path) -> tuple[Path, ...]:
    """Return the cache folders of this repository and of the repository that contains `folder`."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    found = []
    for place in (Path(), folder):
        with suppress(NotDvcRepoError), Repo(str(place)) as repo:
            found.append(Path(repo.cache.local_cache_dir).resolve())
    return tuple(found)


def command(*arguments: str) -> int:
    """Run the command line `dvc ARGUMENT ...` in this process, and return its exit code."""
    from dvc.cli import main

    return int(main(list(arguments)))


def experiments(of_all_commits: bool = False) -> list[tuple[str, str]]:
    """Return the commit and the name of every experiment on HEAD, or on any commit."""
    from dvc.repo import Repo

    with Repo() as repo:
        listed = repo.experiments.ls(all_commits=of_all_commits)
        return [(commit, name) for found in listed.values() for name, commit in found]


def outputs() -> dict[Path, str]:
    """Return the files and folders that the stages of dvc.yaml and params.yaml make, each with its stage.

    Raises:
        UserError: DVC can't read its files.
    """
    from dvc.repo import Repo

    with Repo() as repo, user_errors("dvc.yaml or dvc.lock", "what DVC can read"):
        root = Path(repo.root_dir)
        found = {Path(out.fs_path): stage.addressing for stage in repo.index.stages if stage.cmd for out in stage.outs}
    return {path.relative_to(root): stage for path, stage in found.items() if path.is_relative_to(root)}


def checkout() -> None:
    """Restore the outputs in dvc.lock that are in the cache, and overwrite the files in the workspace.

    Raises:
        UserError: DVC can't read its files.
        BusyError: another `dvc` is at work here.
    """
    from dvc.repo import Repo

    with Repo() as repo, user_errors("dvc.yaml or dvc.lock", "what DVC can read"):
        repo.checkout(force=True, allow_missing=True)


def commit_of(revision: str) -> str:
    """Return the commit of a branch, tag, commit or experiment.

    Raises:
        UserError: there is no such revision.
    """
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    with Repo() as repo:
        try:
            return str(resolve_rev(repo.scm, revision))
        except RevError:
            allowed = "a branch, tag, commit or experiment"
            raise UserError(f"{revision}: no such commit; allowed: {allowed}") from None


def changed_paths(a: str, b: str | None) -> dict[str, list[str]]:
    """Return the outputs that differ between revision `a` and `b`, or the working tree, by the kind of change.

    Folders end with a slash. The kinds are those of `dvc diff`, such as `added`; empty if nothing differs. A renamed
    output counts as deleted and as added.

    Raises:
        UserError: there is no such revision.
    """
    from dvc.repo import Repo

    commits = [each and commit_of(each) for each in (a, b)]
    with Repo() as repo:
        found = repo.diff(*commits)
    renamed = [entry["path"] for entry in found.pop("renamed", [])]
    changed = {kind: [entry["path"] for entry in entries] for kind, entries in found.items()}
    for kind, side in (("deleted", "old"), ("added", "new")):
        if renamed:
            changed[kind] = [*changed.get(kind, []), *(path[side] for path in renamed)]
    return {kind: sorted(paths) for kind, paths in changed.items()}


def file_system(revision: str | None) -> "AbstractFileSystem":
    """Return a file system of a revision, or of the working tree, with the files in git, DVC's cache and its remote."""
    from dvc.api import DVCFileSystem

    # DVC starts a revision's file system at git's root, of which the project may be a subfolder.
    prefix = git("rev-parse", "--show-prefix").strip() if revision else ""
    if not prefix:
        return DVCFileSystem(rev=revision)
    from fsspec.implementations.dirfs import DirFileSystem

    return DirFileSystem(f"/{prefix}", DVCFileSystem(rev=revision, subrepos=True))


def files_below(fs: "AbstractFileSystem", folder: str) -> Iterator[str]:
    """Yield every file below a folder, except the files of a directory that is neither in the cache nor in a remote."""
    from dvc_data.index import DataIndexDirError

    try:
        entries = fs.ls(folder, detail=True)
    except (FileNotFoundError, DataIndexDirError):
        return
    for entry in entries:
        if entry["type"] == "directory":
            yield from files_below(fs, entry["name"])
        else:
            yield entry["name"]
