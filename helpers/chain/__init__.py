"""Chain (`run_all.py`): what it takes to run the notebooks headlessly, and only those that must.

In: notebooks, parameters, and what is known of the last run. Out: executed copies, a record a stage, the report.
To read: `freshness` (why a stage runs again), `notebook_runner` (one notebook in a kernel), `pages`
(its copy as HTML), `report`.
"""
