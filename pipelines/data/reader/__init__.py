"""Delivered files as rows, one set of rules for every format.

`unpack` and `text` turn a file into bytes and text; `json_rows`, `csv_rows` and `parquet_rows` cut it into
rows;
`formats` and `mapping` bring a row into our names; `cells` and `turns` read its values; `typed` writes them.
"""
