"""The smoothings, a file for each paper; `lmsuite.ngram.recursion` says what each answers."""
