"""Programs that attack the command: fuzzers, kills, edges, long runs.

Each is run as ``python -m hardening.NAME``; each has a short form among the tests.
"""
