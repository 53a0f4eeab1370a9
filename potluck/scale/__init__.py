"""``potluck scale``: language models on many clusters, on paper, on top of simulated layers of one cluster."""
