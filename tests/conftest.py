"""Hypothesis profiles: HYPOTHESIS_PROFILE is dev (default), ci or nightly."""

import os

from hypothesis import HealthCheck, settings

# Compiling a kernel on its first call takes seconds, so no deadline could be honest.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("dev", max_examples=25, **_COMMON)
settings.register_profile("ci", max_examples=200, derandomize=True, **_COMMON)
settings.register_profile("nightly", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
