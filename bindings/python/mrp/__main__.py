"""`python -m mrp`."""

from mrp._lab_command import main

if __name__ == "__main__":
    main()
