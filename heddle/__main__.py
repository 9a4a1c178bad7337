"""``python -m heddle``: the command without its entry point."""

from heddle.main import main

if __name__ == "__main__":
    main()
