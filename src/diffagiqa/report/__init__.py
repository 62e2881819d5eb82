"""Tables of scores -> the best image of each prompt, generators compared, one page to look at."""

from diffagiqa.report.compare import Comparison, compare
from diffagiqa.report.page import write_report
from diffagiqa.report.rank import rank
from diffagiqa.report.runs import Run, read_run

__all__ = ["Comparison", "Run", "compare", "rank", "read_run", "write_report"]
