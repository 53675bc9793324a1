"""`python -m tensorgrad`: the command line."""

from tensorgrad.commands.main import main

if __name__ == "__main__":
    main()
