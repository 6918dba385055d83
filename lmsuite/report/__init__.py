"""What people look at: pages, pictures, heat maps.

`findings` computes, `charts` describes what a picture shows, `drawing` and `terminal` draw it, and
`pages` writes whole self-contained pages.
"""
