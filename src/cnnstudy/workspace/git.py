"""Git commands of this project."""

import subprocess

from cnnstudy.errors import UserError


def git(*arguments: str) -> str:
    """Return what git prints.

    Raises:
        UserError: with git's words, where it fails.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise UserError(f"git {arguments[0]}: {said}; allowed: a repository with such a commit")
    return done.stdout.decode("utf-8", "replace")
