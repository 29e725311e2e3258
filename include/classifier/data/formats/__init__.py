"""What files hold: CSV, TSV, JSON Lines, Parquet and Hub data sets, as rows in batches."""
