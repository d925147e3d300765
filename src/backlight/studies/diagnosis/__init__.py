"""Diagnosis: what is wrong with a network, what to try, and what the change gained."""
