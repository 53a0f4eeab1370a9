"""Better post-training quantization: what is done to a network before, while and after its weights are rounded.

`recipe` says how it is asked for, `pipeline` in which order it happens; every other module is one method.
"""
