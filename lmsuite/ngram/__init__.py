"""The count-based workshop, in the order of the method.

1. `counting` finds the n-grams of every order in memory. For a long text, or within a given amount
   of memory, the steps from here to the table are those of `pipeline`, on many cores and on
   `lmsuite.files.disk_arrays`: `blocks` of the text, of `packing` n-grams; `partitions` of the
   n-grams; their `exchange`.
   `longest` n-grams are the form in which counts of texts are added (`text_counts`) and kept in
   `count_files`, or as text in `count_lines`.
2. `discounts` come from counts of counts; `smoothing` has one estimator for each paper, which gives
   shares and leftover weights; `pruning` leaves out rare n-grams.
3. `recursion` turns these into probabilities; `estimate` does all these steps as `settings` say.
4. The finished `table` finds n-grams by its `lookup`, or by `flat` for short texts; `assembly`
   makes a table from the n-grams of an `arpa` file, whose `fields` are read many at a time.
5. `entropy_pruning` and `quantizing` make a finished table smaller, and `refitting` makes its
   distributions sum to one again.
"""
