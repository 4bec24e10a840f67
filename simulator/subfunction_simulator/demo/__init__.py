"""The demo: every program of the project, on one machine, with a story."""
