"""The archive: each closed day as verified Parquet files; see DESIGN.md in this folder."""
