"""What a path is relative to: the working directory, in a configuration file as anywhere."""

from pathlib import Path


def looked_at(path: str | Path) -> str:
    """Return what to add to a sentence about a path that leads nowhere: where it was looked at.

    An absolute path says so itself.
    """
    if Path(path).is_absolute():
        return ""
    return f" (looked for at {Path(path).absolute()}: paths are relative to the working directory)"
