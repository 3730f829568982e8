"""Planning: what a training costs, how it is laid out, how long it takes. Pure arithmetic, no torch.

Rooms: shapes, named, hf_config, convnet (what is trained), hardware (on what), counting (parameters and FLOPs). The
submodules are the interface; importing this package imports none of them.
"""
