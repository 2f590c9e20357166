"""astray: learns what every agent normally does and stops the session that is not it."""
