"""Chain (`run_all.py`): what it takes to run the notebooks headlessly, and only those that must.

In: notebooks, parameters, and what is known of the last run. Out: executed copies, a record a stage, the report.
To read: `freshness` (why a stage runs again), `notebook_runner` (one notebook in a kernel), `pages`
(its copy as HTML), `report`.
"""

import sys

# jsonschema, which nbformat loads, makes a parser of international addresses (RFC 3987) as it is imported, and that
# takes longer than all else that running a notebook needs. Notebooks have none to check; without it, it does without.
sys.modules.setdefault("rfc3987_syntax", None)
