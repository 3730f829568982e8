"""How well a model does: one file per metric, each the whole definition, none of them knowing a model."""
