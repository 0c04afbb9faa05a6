"""AdamW that leaves torch's compiler alone, whose import takes longer than a small fit."""

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """The methods of ``torch.optim.AdamW`` without what torch wraps around them.

    That keeps a compiler away from them, for which it imports one: more than a second. Steps are
    those of torch to the last bit; no gradient flows through them.
    """

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
