"""Why a score is what it is: where a picture loses quality, and which words it does not show."""

from diffagiqa.explain.explanation import Explanation, WordEffect, explain

__all__ = ["Explanation", "WordEffect", "explain"]
