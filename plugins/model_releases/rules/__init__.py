"""What decides: without Airflow, without a service, without a file."""
