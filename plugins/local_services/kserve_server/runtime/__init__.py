"""What runs in the environment of ``requirements.txt``: a server for each version, and the router before them.

These modules import each other by relative names and nothing else of this project, because they are started with the
folder above as their only further place to import from. ``layout`` alone is imported by Airflow's processes as well.
"""
