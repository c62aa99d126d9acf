"""Training with the trainers of sentence-transformers; interrupted runs are resumed."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError, did_you_mean
from rankstone.profiling.device import kind, resolve
from rankstone.progress import Progress
from rankstone.specs import Recipe
from rankstone.training.columns import Table
from rankstone.training.samplers import batches
from rankstone.training.starts import Start

KINDS = {
    "ast_graph": "SentenceTransformer",
    "cross_encoder": "CrossEncoder", "dense": "SentenceTransformer",
    "fusion": "SentenceTransformer", "generative": "SentenceTransformer",
    "jpq": "SentenceTransformer", "poly_encoder": "SentenceTransformer",
    "repconc": "SentenceTransformer", "sparse": "SparseEncoder",
    "uni_encoder": "SentenceTransformer",
}  # fmt: skip
"""Adapter -> prefix of the trainer's name."""
POINTS = 50
"""Approximate number of points of a loss curve."""
LOSS_STATE = "loss.pt"
STATE = "trainer_state.json"
"""File that the trainer writes last into a checkpoint."""
Curve = list[tuple[int, float]]
"""(step, loss) points."""


class Reports(NamedTuple):
    progress: Progress
    saved: Callable[[], None]
    """Called whenever a checkpoint is written."""


class Fitted(NamedTuple):
    steps: int
    """Number of training steps, those of interrupted runs included."""
    best_step: int | None
    """Step whose weights were kept; None for the last step."""
    loss: Curve
    """Mean training loss since the previous point."""
    held_out: Curve
    """Loss on held-out queries."""
    resumed: bool


def fit(
    adapter: str,
    recipe: Recipe,
    start: Start,
    loss: Any,
    learn: Table,
    held_out: Table | None,
    topics: Ints | None,
    folder: Path,
    reports: Reports,
) -> Fitted:
    """Train `start.model` in place.

    Args:
        folder: Checkpoints of the trainer. An interrupted run resumes from the last one, and on the
            same CPU its weights are bit-identical to those of an uninterrupted run.
    """
    import datasets
    from transformers import PrinterCallback

    learnt = datasets.Dataset.from_dict(learn.columns)
    checked = None if held_out is None else datasets.Dataset.from_dict(held_out.columns)
    trainer = _trainer(adapter, batches(recipe, learn, learnt, topics))(
        model=start.model,
        args=_arguments(adapter, recipe, start, folder, checked is not None, loss),
        train_dataset=learnt,
        eval_dataset=checked,
        loss=loss,
        callbacks=list(_callbacks(recipe, loss, reports)),
    )
    trainer.remove_callback(PrinterCallback)
    before = last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=None if before is None else str(before))
    state = trainer.state
    best = state.best_global_step if checked is not None else None
    loss_curve, checked_curve = (_curve(state.log_history, key) for key in ("loss", "eval_loss"))
    return Fitted(state.global_step, best or None, loss_curve, checked_curve, before is not None)


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last complete checkpoint."""
    found = {int(path.parent.name.rpartition("-")[2]): path.parent
             for path in folder.glob(f"checkpoint-*/{STATE}")}  # fmt: skip
    return found[max(found)] if found else None


def _curve(history: list[dict[str, Any]], key: str) -> Curve:
    return [(int(entry["step"]), float(entry[key])) for entry in history if key in entry]


def _trainer(adapter: str, plan: list[list[int]]) -> Any:
    library: Any = importlib.import_module("sentence_transformers")
    samplers: Any = importlib.import_module("sentence_transformers.base.sampler")

    import torch
    from torch.utils.data import SequentialSampler

    class Planned(samplers.DefaultBatchSampler):  # type: ignore[misc]
        """The batches of all steps: one epoch."""

        def __iter__(self) -> Iterator[list[int]]:
            return iter(plan)

        def __len__(self) -> int:
            return len(plan)

    class Trainer(getattr(library, f"{KINDS[adapter]}Trainer")):  # type: ignore[misc]
        """The library's trainer with planned batches and without model cards."""

        def get_batch_sampler(
            self, dataset: Any, batch_size: int, drop_last: bool, **more: Any
        ) -> Any:
            if dataset is self.train_dataset:
                source = SequentialSampler(dataset)
                return Planned(source, batch_size=batch_size, drop_last=drop_last)
            return super().get_batch_sampler(dataset, batch_size, drop_last, **more)

        def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
            self.model.save_pretrained(str(output_dir), create_model_card=False)
            torch.save(_own_state(self.loss), Path(output_dir) / LOSS_STATE)

        def _load_from_checkpoint(self, checkpoint_path: str, model: Any = None) -> None:
            super()._load_from_checkpoint(checkpoint_path)
            own = torch.load(Path(checkpoint_path) / LOSS_STATE, weights_only=True)
            self.loss.load_state_dict(own, strict=False)

        def _load_best_model(self) -> None:
            """Load the best weights; the library would only log it if they cannot be loaded."""
            self._load_from_checkpoint(self.state.best_model_checkpoint)

        def evaluation_loop(self, *arguments: Any, **more: Any) -> Any:
            with evaluating(self.loss):
                return super().evaluation_loop(*arguments, **more)

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Do nothing: the record describes the training."""

    return Trainer


@contextlib.contextmanager
def evaluating(loss: Any) -> Iterator[None]:
    """Keep the loss, with networks of its own, in evaluation mode while the block runs.

    The library changes the mode of the model alone, so that decoders would drop units out, and
    moving averages would follow.
    """
    inner = {*loss.model.modules()}
    own = [module for module in loss.modules() if module.training and module not in inner]
    for module in own:
        module.training = False
    try:
        yield
    finally:
        for module in own:
            module.training = True


def _own_state(loss: Any) -> dict[str, Any]:
    """Return the weights of the loss that do not belong to the model."""
    modules = loss.named_modules(remove_duplicate=False)
    inner = {f"{name}." for name, module in modules if module is loss.model}
    state: dict[str, Any] = loss.state_dict()
    return {name: value for name, value in state.items() if not name.startswith(tuple(inner))}


def _arguments(
    adapter: str, recipe: Recipe, start: Start, folder: Path, checked: bool, loss: Any
) -> Any:
    library: Any = importlib.import_module("sentence_transformers")
    every = min(recipe.check_every if checked else recipe.save_every, recipe.steps)
    more: dict[str, Any] = {"prompts": start.prompts} if start.prompts else {}
    if start.routes:
        more["router_mapping"] = start.routes
    if rates := getattr(loss, "rates", None):
        more["learning_rate_mapping"] = rates
    if checked:
        more |= {
            "eval_strategy": "steps", "eval_steps": every, "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss", "greater_is_better": False,
            "per_device_eval_batch_size": recipe.batch,
        }  # fmt: skip
    return getattr(library, f"{KINDS[adapter]}TrainingArguments")(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_schedule(recipe),
        warmup_steps=round(recipe.warmup * recipe.steps),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        use_cpu=device_of(recipe) == "cpu",
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=max(1, recipe.steps // POINTS),
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **more,
    )


def _schedule(recipe: Recipe) -> str:
    from transformers import SchedulerType

    known = [kind.value for kind in SchedulerType]
    if recipe.schedule not in known:
        raise DefinitionError(
            f"[training]: key 'schedule': no schedule '{recipe.schedule}'."
            f"{did_you_mean(recipe.schedule, known)} Known: {', '.join(known)}."
        )
    return recipe.schedule


def device_of(recipe: Recipe) -> str:
    """Return the training device; DefinitionError if it does not support the precision."""
    device = kind(resolve(recipe.device))
    if device == "cpu" and recipe.precision != "fp32":
        raise DefinitionError(
            f"[training]: precision = '{recipe.precision}' is for a GPU, and training runs on"
            ' the CPU. Set precision = "fp32".'
        )
    return device


def _callbacks(recipe: Recipe, loss: Any, reports: Reports) -> Iterator[Any]:
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Report(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            reports.progress("train", state.global_step, recipe.steps)

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            reports.saved()

    yield Report()
    if recipe.patience is not None:
        yield EarlyStoppingCallback(early_stopping_patience=recipe.patience)
    if "SpladeLoss" in {kind.__name__ for kind in type(loss).__mro__}:
        from sentence_transformers.sparse_encoder.callbacks.splade_callbacks import (
            SpladeRegularizerWeightSchedulerCallback,
        )

        yield SpladeRegularizerWeightSchedulerCallback(loss)
