"""Quality databases as they are distributed, each read by one function and listed in ``DATABASES``.

To add one: a function from ``Folder`` to ``Listing``, and a ``Source`` in ``loading.DATABASES``.
"""

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases.check import CheckReport, LabelSummary, check_database
from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.loading import (
    DATABASES,
    database_name,
    read_database,
    verified,
)
from diffagiqa.data.databases.table import read_table

__all__ = [
    "DATABASES",
    "CheckReport",
    "Database",
    "LabelSummary",
    "TableColumns",
    "check_database",
    "database_name",
    "read_database",
    "read_table",
    "verified",
]
