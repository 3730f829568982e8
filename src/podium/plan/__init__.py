"""Planning: what a training costs, how it is laid out, how long it takes. Pure arithmetic, no torch.

The submodules are the interface, so that a command pays for its own part only: `named.find_model`,
`hardware.find_device`, `counting.parameters` and `training_flops`, `search.search` of a `search.Job`,
`inference_memory.serving_memory`, `trainer_memory.trainer_memory`, `scaling.optimal` and `judge`, `validate.validate`.
"""
