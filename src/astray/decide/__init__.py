"""Risk to decision: policies, hard limits, evidence."""
