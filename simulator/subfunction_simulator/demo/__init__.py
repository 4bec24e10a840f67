"""The demo runs every program of the project on one machine, and tells a story.

Here live the story, the processes that play in it, and the few requests that a person would make with kubectl.
It may import the ground (`subfunction`) and the simulated kernel's topology; the programs it starts as processes.
Its programs are the real ones: agent and device plugin do not know that they are in a demo.
A newcomer begins with `story.py`.
"""
