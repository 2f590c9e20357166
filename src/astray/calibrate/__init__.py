"""Statistic to rank to risk: what a session is ranked against."""
