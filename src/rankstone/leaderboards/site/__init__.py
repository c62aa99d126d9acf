"""The site: one static folder of pages, made of records alone.

`model` puts records in order, `tables`, `plots`, `records` and `pairs` turn them into parts of
pages, `build` writes the folder. Nothing is loaded from elsewhere: pages work from a disk.
"""
