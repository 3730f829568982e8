"""The fields of every stage in which a model answers: how it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from podium.opening import ModelSpec, check_device, check_format
from podium.recipe.registry import Params, checked
from podium.settings import NOT_IDENTITY


class ModelParams(Params):
    """How a model is computed; see podium.opening.ModelSpec. Names are checked when a recipe is read, and whether this
    machine has the device is asked when the stage begins."""

    replicas: Annotated[int, NOT_IDENTITY] = Field(
        1, ge=1, description="engines side by side, each in a process of its own"
    )
    device: str = Field("cpu", description="cpu, cuda or cuda:N")
    format: str | None = Field(
        None,
        description="of the weights; CPU: fp16 (default), fp32, bf16, int8, w8a16, w4a16, fp8; GPU: bf16 (default), "
        "fp16, fp32, fp8",
    )
    threads: Annotated[int | None, NOT_IDENTITY] = Field(
        None, ge=1, description="processor threads; null: one per core"
    )
    memory_gb: float = Field(1.0, gt=0, description="for keys and values")

    drafter: Annotated[str, NOT_IDENTITY] = Field(
        "own", description="who guesses tokens ahead: own (the model's draft head, if it has one), ngrams, none"
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        return checked(value, lambda: check_device(value))

    @field_validator("device")
    @classmethod
    def _one_replica_on_a_gpu(cls, value: str, info: ValidationInfo) -> str:
        if value != "cpu" and info.data.get("replicas", 1) > 1:
            raise ValueError("several replicas do not share a GPU; use replicas: 1")
        return value

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            checked(value, lambda: check_format(value, info.data.get("device", "cpu")))
        return value

    def spec(self, model: Path | str) -> ModelSpec:
        """The model of a stage.

        Raises:
            InputError: this machine has no such device, or several replicas on a GPU.
        """
        memory = int(self.memory_gb * 2**30)
        return ModelSpec(str(model), self.replicas, self.device, self.format, self.threads, memory, self.drafter)

    def helper(self, model: Path) -> ModelSpec:
        """A verifier or judge beside the model of a stage: on the same device, in the same format, with the same
        threads, in a single engine with the usual memory.

        Raises:
            InputError: this machine has no such device.
        """
        return ModelSpec(str(model), device=self.device, format=self.format, threads=self.threads)
