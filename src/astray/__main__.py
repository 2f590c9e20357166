"""`python -m astray` is `astray`."""

from astray.cli.start import main

if __name__ == "__main__":
    main()
