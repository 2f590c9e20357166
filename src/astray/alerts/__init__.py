"""Decisions as alerts: OCSF findings, and lines for people."""
