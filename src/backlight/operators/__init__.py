"""Operators: what each operator of a captured network is, and the rule sets that say how it passes a signal back."""
