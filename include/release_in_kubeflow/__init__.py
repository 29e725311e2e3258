"""A release without Airflow, whose steps are those of a pipeline; the rules are in include.contracts.rules."""
