"""`python -m mmlib`."""

from mmlib.cli import main

if __name__ == "__main__":
    main()
