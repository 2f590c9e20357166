"""Tools for data scientists: simulate, replay, measure."""
