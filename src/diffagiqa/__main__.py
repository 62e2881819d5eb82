"""``python -m diffagiqa``."""

from diffagiqa.cli.main import main

if __name__ == "__main__":
    main()
