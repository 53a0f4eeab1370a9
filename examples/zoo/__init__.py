"""The zoo: trained networks with real inputs, each with its FP32 reference, its task metric and a one-command result.

Weights and data come inside packages of the registry; nothing else is downloaded, and nothing at run time
(docs/zoo.md). A module of this folder declares a network (`potluck.zoo.network.Network`), `potluck.zoo.registry`
names the modules.
"""
