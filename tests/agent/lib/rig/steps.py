"""A seam that remembers."""

from subfunction_operator.agent.model.steps import Effect, WriteObject


class Steps:
    """A seam that keeps the steps by uid and may be told to act at one of them."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Effect]] = []

    def before(self, uid: str, step: Effect) -> None:
        self.taken.append((uid, step))

    def after(self, uid: str, step: Effect) -> None:
        assert (uid, step) in self.taken

    @property
    def first(self) -> str:
        """Whose was the first step towards the kernel."""
        return next(uid for uid, effect in self.taken if not isinstance(effect, WriteObject))
