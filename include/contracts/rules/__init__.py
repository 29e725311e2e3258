"""What decides over a release, for releases with Airflow and without: pure, and told in words."""
