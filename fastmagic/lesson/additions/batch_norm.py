"""Keep what the body's batch norms know, also while the network is trained.

A batch norm holds the mean and the deviation of what it saw, here of more than a million pictures.
fastai goes on averaging them over our batches, and trains their weights, even in a frozen body. On
a few thousand pictures that forgets more than it learns: efficientnet_lite0 on 1,600 photographs
of cats and dogs ended at 96 to 97 %, and at 99 % with its batch norms kept.
"""

from typing import Any

from fastai.callback.training import BnFreeze
from fastai.torch_core import norm_bias_params
from torch import nn


def keep_batch_norm(learn: Any) -> None:
    """Leave the body's batch norms as they are; call it again after `learn.unfreeze()`.

    It is for networks that begin with ImageNet's weights. One without batch norm is not changed.
    """
    body = learn.model[0] if isinstance(learn.model, nn.Sequential) else learn.model
    for parameter in norm_bias_params(body, with_bias=False):
        parameter.requires_grad_(False)
    if not any(isinstance(callback, BnFreeze) for callback in learn.cbs):
        learn.add_cb(BnFreeze())
