"""The values that the agent's packages pass to each other: observations, decisions, steps. Pure.

`observation.py` has what was observed, `decision.py` the planner's result, `steps.py` each step with its shell twin.
It imports `subfunction` alone.
Begin with `observation.py`.
"""
