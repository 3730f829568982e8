"""`python -m podium` is the same as `podium`."""

from podium.commands.cli import main

if __name__ == "__main__":
    main(prog_name="podium")
