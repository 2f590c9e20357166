"""`python -m astray` is `astray`."""

from astray.cli.start import main

main()
