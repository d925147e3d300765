"""Engines: what a build is to do (the plan) and who does it; nothing of how a network is read or projected."""
