"""What the tests of the agent stand on: a node without a cluster, and an agent before an API server."""
