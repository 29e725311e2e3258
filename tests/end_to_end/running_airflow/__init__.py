"""Files that share one running Airflow; a package, so that it ends with the last of them."""
