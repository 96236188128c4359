"""Items of the evaluation suite below `shared_root`: proposed ones, what people said of them, and old suites.

Both planes use it: a person reviews on Airflow's page or with `nightshift suite review`.
"""
