"""`python -m mmlib`."""

from mmlib.cli.main import main

if __name__ == "__main__":
    main()
