"""Delivered files as rows, one set of rules for every format.

`unpack` and `text` turn a file into bytes and text; `json_rows`, `csv_rows` and `parquet_rows` cut it into
rows; `mapping` finds the columns; `cells`, `turns` and `ratings` read their values. `data.row_reader` puts
them together.
"""
