"""The site: one static folder of pages, generated from records alone.

`model` puts records in order; `tables`, `vega` and `pairs` make the parts of pages, and
`board_page`, `record_page` and `pair_page` hand them to `templates/`; `build` writes the folder.
Pages load nothing from elsewhere and work from a disk.
"""
