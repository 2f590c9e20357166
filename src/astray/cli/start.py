"""Where the program begins."""

import gc


def main() -> None:
    """Run a command; what is imported stays, and nobody has to look for garbage in it."""
    gc.disable()
    from astray.cli.main import app  # noqa: PLC0415 - this is what it is about

    gc.freeze()
    gc.enable()
    app(prog_name="astray")
