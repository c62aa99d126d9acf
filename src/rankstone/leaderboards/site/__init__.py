"""Static web site, generated from records alone.

`model` orders the records; `tables`, `vega` and `pairs` make the parts of pages; `board_page`,
`record_page` and `pair_page` render them with `templates/`; `build` writes the folder. Pages load
no external resources and can be opened from disk.
"""
