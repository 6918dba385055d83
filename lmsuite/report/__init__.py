"""What people look at: pages, charts, heat maps.

`markup` makes HTML that cannot be broken by what a text holds, `page` a whole self-contained page.
"""
