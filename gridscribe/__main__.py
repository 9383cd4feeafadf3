"""`python -m gridscribe`."""

from gridscribe.cli import main

if __name__ == "__main__":
    main()
