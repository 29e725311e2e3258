"""The Releases page in Airflow's UI: what is live, how it came to be, and the way back.

A FastAPI application (:func:`model_releases.releases_page.app.make_app`) that a plugin mounts into Airflow's API
server. It shows nothing without a session of Airflow's, and nothing of a model whose release DAG the user may not read.
"""
