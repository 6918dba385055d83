"""Programs that attack the command: fuzzers, kills, edges, long runs.

Run each as ``python -m hardening.NAME``. The tests contain a short form of each.
"""
