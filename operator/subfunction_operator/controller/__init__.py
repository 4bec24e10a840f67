"""The cluster's half: pools, placement, and what a deleted Node left. It touches no kernel."""
