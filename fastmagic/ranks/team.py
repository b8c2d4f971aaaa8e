"""What the processes of one training tell one another (torch.distributed), and nothing else.

Each process (a "rank") takes its share of every batch and runs the network's body on it. What comes
out is gathered, so that the head, the loss, the metrics and whatever callbacks see is the whole
batch on every rank, and each computes the same numbers. Going back, the gradients of the body's
weights are summed: each rank's hold what its own pictures add. So the gradient is that of the whole
batch for any loss, nothing is counted twice, and nothing dropped. Where memory runs out a rank does
its share in parts; at the next batch all of them do.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

OVER = 99
"""What a rank asks all to do after the step when the run's time is up; else a signal's number."""


@dataclass
class Team:
    """The processes of one training, as one of them sees them.

    Attributes
    ----------
    rank, size
        Which of how many this is; rank 0 shows, saves and reports.
    wants
        What this rank asks all to do after the step: a signal's number, `OVER`, or 0 for nothing.
    agreed
        What one of them has asked for by the last batch.
    counts
        How many pictures of the batch that is on its way each rank has.

    Examples
    --------
    >>> Team().alone
    True
    >>> [Team(rank, 2).share(5) for rank in (0, 1)]
    [(0, 3), (3, 5)]
    """

    rank: int = 0
    size: int = 1
    wants: int = 0
    agreed: int = 0
    counts: list[int] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.size == 1

    def share(self, count: int) -> tuple[int, int]:
        """Give where this rank's part of so many things begins and ends: sizes differ by one."""
        each, more = divmod(count, self.size)
        begin = self.rank * each + min(self.rank, more)
        return begin, begin + each + (self.rank < more)

    def numbers(self, order: Sequence[int], batch: int) -> list[int]:
        """Give this rank's part of each batch of an order.

        A last batch with fewer pictures than ranks gives the others its first one, to run the
        network on; `counts` says later that it does not count.

        Examples
        --------
        >>> [Team(rank, 2).numbers(range(10, 17), 4) for rank in (0, 1)]
        [[10, 11, 14, 15], [12, 13, 16]]
        >>> Team(1, 2).numbers([7], 4)
        [7]
        """
        own: list[int] = []
        for first in range(0, len(order), batch):
            whole = order[first : first + batch]
            begin, end = self.share(len(whole))
            own += whole[begin:end] or whole[:1]
        return own

    def meet(self, pictures: int, parts: int) -> int:
        """Tell the others how many pictures this rank has, in how many parts, and what it wants.

        Returns
        -------
        int
            The most parts that a rank needed.
        """
        import torch
        from torch import distributed

        own = torch.tensor([pictures, parts, self.wants])
        told = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(told, own)
        self.counts = [int(one[0]) for one in told]
        self.agreed = max(int(one[2]) for one in told)
        return max(int(one[1]) for one in told)

    def whole(self, output: Any) -> Any:
        """Give a batch's tensors of all ranks, in the batch's order; this rank's keep their graph.

        Parameters
        ----------
        output
            A tensor whose first axis is the pictures, or tuples, lists and dicts of such.
        """
        from torch.utils import _pytree

        return _pytree.tree_map(self._gathered, output)

    def _gathered(self, tensor: Any) -> Any:
        import torch
        from torch import distributed

        if not isinstance(tensor, torch.Tensor) or not tensor.ndim:
            return tensor
        plain = tensor.detach().as_subclass(torch.Tensor)
        most = max(*self.counts, 1)
        own = plain.new_zeros((most, *plain.shape[1:]))
        own[: len(plain)] = plain
        as_bytes = own.contiguous().reshape(-1).view(torch.uint8)
        told = [torch.empty_like(as_bytes) for _ in range(self.size)]
        distributed.all_gather(told, as_bytes)
        parts: list[Any] = [
            one.view(own.dtype).reshape(own.shape)[:count]
            for one, count in zip(told, self.counts, strict=True)
        ]
        parts[self.rank] = tensor.as_subclass(torch.Tensor)[: self.counts[self.rank]]
        return torch.cat(parts).as_subclass(type(tensor))

    @contextlib.contextmanager
    def summed(self, model: Any, body: Any) -> Iterator[None]:
        """Make the gradients of a backward pass within the block those of the whole batch.

        Gradients that were there before, of batches that are accumulated, are added afterwards.

        Parameters
        ----------
        model, body
            The network, and the part of it that saw this rank's pictures alone; the rest has the
            whole batch's gradient already, and is averaged, so that the ranks stay the same.
        """
        parameters = [p for p in model.parameters() if p.requires_grad]
        before = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        yield
        own = {id(p) for p in body.parameters()}
        held = [p for p in parameters if p.grad is not None]
        self._sum([p.grad for p in held], [id(p) in own for p in held])
        self._average(averages_of(body))
        for parameter, grad in zip(parameters, before, strict=True):
            if grad is not None:
                parameter.grad = grad if parameter.grad is None else grad + parameter.grad

    def _sum(self, tensors: list[Any], partial: list[bool]) -> None:
        import torch
        from torch import distributed

        kinds = {(one.dtype, one.device) for one in tensors}
        for kind in sorted(kinds, key=str):
            same = [
                (one, part)
                for one, part in zip(tensors, partial, strict=True)
                if (one.dtype, one.device) == kind
            ]
            flat = torch.cat([(one if part else one / self.size).reshape(-1) for one, part in same])
            distributed.all_reduce(flat)
            pieces = torch.split(flat, [one.numel() for one, _ in same])
            for (one, _), piece in zip(same, pieces, strict=True):
                one.copy_(piece.reshape(one.shape))

    def _average(self, tensors: list[Any]) -> None:
        if tensors:
            self._sum(tensors, [False] * len(tensors))

    def alike(self, model: Any) -> None:
        """Give all ranks the weights and averages that rank 0 has."""
        from torch import distributed

        for tensor in (*model.parameters(), *model.buffers()):
            distributed.broadcast(tensor.data, src=0)

    def from_first(self, give: Callable[[], Any]) -> Any:
        """Give all ranks what rank 0 finds: a choice that may come out otherwise on each."""
        if self.alone:
            return give()
        from torch import distributed

        found = [give() if self.rank == 0 else None]
        distributed.broadcast_object_list(found, src=0)
        return found[0]

    def one_first(self, do: Callable[[], Any]) -> Any:
        """Let rank 0 do something before the others: what it makes on disk, they find."""
        if self.alone:
            return do()
        found = do() if self.rank == 0 else None
        self.wait()
        return do() if self.rank else found

    def wait(self) -> None:
        """Wait until every rank is here."""
        if not self.alone:
            from torch import distributed

            distributed.barrier()


def averages_of(module: Any) -> list[Any]:
    """Give the running averages of a module's batch norms that are being trained."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [
        average
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.training
        for average in (norm.running_mean, norm.running_var)
        if average is not None
    ]


def join(kind: str) -> Team:
    """Become one of the processes that torch's launcher has started.

    Parameters
    ----------
    kind
        `cuda` where each has a GPU of its own, else `cpu`.
    """
    import torch
    from torch import distributed

    if kind == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        _stay_on_the_cpu()
    distributed.init_process_group(backend(kind, nccl=distributed.is_nccl_available()))
    team = Team(distributed.get_rank(), distributed.get_world_size())
    if team.rank:  # what all of them print is seen once
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return team


def backend(kind: str, *, nccl: bool) -> str:
    """Name what carries tensors from one process to another.

    Parameters
    ----------
    kind
        As of `join`.
    nccl
        Whether this torch has NCCL; on Windows none has, and gloo carries a GPU's tensors too.

    Examples
    --------
    >>> backend("cpu", nccl=True), backend("cuda", nccl=True), backend("cuda", nccl=False)
    ('gloo', 'cpu:gloo,cuda:nccl', 'gloo')
    """
    return "cpu:gloo,cuda:nccl" if kind == "cuda" and nccl else "gloo"


def _stay_on_the_cpu() -> None:
    """Have fastai make learners on the processor: gloo carries nothing of Apple's GPU."""
    from fastai.torch_core import default_device

    default_device(False)
