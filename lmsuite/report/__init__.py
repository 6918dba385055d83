"""Results for people to look at: pages, pictures, heat maps.

`findings` computes the results, `charts` describes pictures of them, `drawing` and `terminal` draw
the pictures, and `pages` writes self-contained pages.
"""
