"""The count-based workshop, in the order of the method.

`counting`, `adjusted` counts, `discounts`; the smoothings (`relative_frequency`, `witten_bell`,
`kneser_ney`, `jelinek_mercer`, `katz`), what they share (`smoothing`), and `pruning`; `settings`,
and `estimate`, which goes through all that; the same `bounded` in memory, on `columns`; the
finished `table`, its `lookup`, `compact` arrays and `arpa` files; `entropy_pruning` and
`quantizing`, which change a finished table, and `refitting`, which puts the sums right.
"""
