"""The smoothings, a file for each idea; `lmsuite.ngram.recursion` explains what each computes."""
