"""Tasks that leave a trace in a file, for tests that kill workers."""

import os
import time


def note(path, word, seconds=0.0):
    time.sleep(seconds)
    with open(path, "ab", buffering=0) as file:
        file.write(f"{word} {os.getpid()}\n".encode())
