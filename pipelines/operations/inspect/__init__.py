"""`nightshift inspect`: what a log holds, how it would be read, and the profile to start from.

`look` reads a file, `guess` finds what its columns mean, `weigh` reads its rows by that, `profile` writes the
settings down, `show` prints.
"""
