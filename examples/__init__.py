"""Scripts to read and to run, from the root of the repository; CI runs them all.

A package, because a library that the project depends on installs a package of this name.
"""
