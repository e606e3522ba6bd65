"""Lightning's trainer, whose limits are whole numbers of batches where they are written as whole numbers."""

from datetime import timedelta
from typing import Any

from lightning.pytorch import Trainer


class SupernetTrainer(Trainer):
    """Lightning's `Trainer`, with options that tell `1`, one batch, from `1.0`, all of them.

    Lightning's own are `Optional[Union[int, float]]`. Of types that are equal `typing` keeps the one that was made
    first, be it `Optional[Union[float, int]]` of another library: then the parser tries float first, and reads 1 as
    1.0. Types that are written with `|` aren't kept.
    """

    may_stop: bool = True
    """Whether a SIGTERM ends the training at once: a run's folder sets it where its checkpoint is up to date."""

    @property
    def is_terminated(self) -> bool:
        """Whether the process was told to end, by SIGTERM."""
        return bool(super().received_sigterm)

    @property
    def received_sigterm(self) -> bool:
        """What Lightning asks to know whether it must end now."""
        return self.is_terminated and (self.may_stop or self.world_size > 1)

    def __init__(
        self,
        *,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the trainer.

        Args:
            limit_train_batches: training batches of an epoch: a whole number of them, or a fraction of all such as 0.5.
            limit_val_batches: likewise, of a validation.
            limit_test_batches: likewise, of a test.
            limit_predict_batches: likewise, of a prediction.
            overfit_batches: train and validate on these batches only: a whole number of them, or a fraction; 0: on all.
            val_check_interval: validate after so many training batches, a fraction of an epoch, or a time.
            kwargs: Lightning's other options.
        """
        super().__init__(
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            overfit_batches=overfit_batches,
            val_check_interval=val_check_interval,
            **kwargs,
        )
