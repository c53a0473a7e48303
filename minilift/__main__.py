"""``python -m minilift`` is the command ``minilift``, where the folder of installed commands is not on the path."""

import sys

from minilift.cli import main

if __name__ == "__main__":
    sys.exit(main())
