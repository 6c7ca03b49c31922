"""``python -m dtfl_private``: the command line, for when its script is not on the path."""

from dtfl_private.cli.main import main

if __name__ == "__main__":
    main()
