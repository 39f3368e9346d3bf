"""The selective scan of VMamba as an operator of ONNX.

The scan's recurrence is a loop over the L positions of a map. Written out in operators its graph has
thousands of nodes; ONNX has an operator for loops, ``Scan``, whose body here has a product and a sum for each
of the two senses of reading. Both runtimes run it natively, and the graph of a block has some sixty nodes.

While the network is exported an operator of our own stands for the loop; :func:`insert_scans` replaces it.

Letters: B batch, H, W map size in tokens, L = H * W, D inner width, R rank of the step size. Pairs (2): by
rows and by columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhier.models.backbones.truncated_vmamba import SelectiveScan2d
from mmhier.ops.linear import linear

_PLACEHOLDER, _DOMAIN = 'BothWays', 'mmhier'
_SCANNED_AXIS = 2


class OnnxSelectiveScan2d(SelectiveScan2d):
    """:class:`SelectiveScan2d` of state size 1 for export to ONNX; never built, modules become it."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a normed map (B, H, W, C) to the same shape."""
        x = self.conv2d(self.in_proj(x).permute(0, 3, 1, 2))
        x = F.silu(x.permute(0, 2, 3, 1))  # (B, H, W, D)
        height, width = x.shape[1:3]
        projected = linear(x, self.x_proj_weight.flatten(0, 1)).chunk(4, 3)  # (B, H, W, R + 2) each
        u = _by_rows_and_columns(x, x)
        forth, back = (self._steps(u, projected, first) for first in (0, 2))
        states = _both_ways(*forth[:2], *back[:2])
        gain = self.Ds.view(2, 2, 1, -1).sum(0)
        y = states[0] * forth[2] + states[1] * back[2] + u * gain
        y = y[:, 0].unflatten(1, (height, width)) + y[:, 1].unflatten(1, (width, height)).transpose(1, 2)
        return self.out_proj(self.out_norm(y))

    def _steps(self, u: Tensor, projected: tuple[Tensor, ...], first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Decays and inputs (B, 2, L, D), weights of the states (B, 2, L, 1), of two directions."""
        pair = slice(first, first + 2)
        values = _by_rows_and_columns(*projected[pair])
        dt, b, c = values.split([self.rank, 1, 1], 3)
        delta = dt @ self.dt_projs_weight[pair].transpose(1, 2) + self.dt_projs_bias[pair].unsqueeze(1)
        delta = F.softplus(delta)
        rate = -self.A_logs.view(4, 1, -1)[pair].exp()
        return torch.exp(delta * rate), delta * b * u, c


def _by_rows_and_columns(rows: Tensor, columns: Tensor) -> Tensor:
    """Read two maps (B, H, W, D), one by rows, one by columns: (B, 2, L, D)."""
    return torch.stack((rows.flatten(1, 2), columns.transpose(1, 2).flatten(1, 2)), 1)


def _both_ways(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Stand for the recurrences ``s = decay * s + input`` along the third axis, forth and back."""
    state = torch.zeros_like(inputs[0].select(_SCANNED_AXIS, 0))
    shape, dtype = inputs[0].shape, inputs[0].dtype
    return torch.onnx.ops.symbolic_multi_out(
        f'{_DOMAIN}::{_PLACEHOLDER}',
        (state, *inputs),
        dtypes=(dtype, dtype),
        shapes=(shape, shape),
        version=1,
    )


def prepare_scans(model: nn.Module, for_onnx: bool) -> None:
    """Make the scans of a model exportable, in place.

    Args:
        model: A copy that is not needed for anything else.
        for_onnx: With the operator ``Scan``, where this PyTorch can export it and the state has size 1.
            Otherwise in the operators of the backend 'torch', see :mod:`mmhier.ops.selective_scan.chunked`.
    """
    has_placeholder = hasattr(getattr(torch.onnx, 'ops', None), 'symbolic_multi_out')
    for module in model.modules():
        if isinstance(module, SelectiveScan2d):
            module.scan_backend = 'torch'
            if for_onnx and has_placeholder and module.d_state == 1:
                module.__class__ = OnnxSelectiveScan2d


def insert_scans(model) -> None:
    """Replace the placeholders in an ``onnx.ModelProto`` by ``Scan``, in place."""
    from onnx import helper

    for node in model.graph.node:
        if (node.domain, node.op_type) == (_DOMAIN, _PLACEHOLDER):
            state, *inputs = node.input
            name, outputs = node.name, list(node.output)
            node.CopyFrom(
                helper.make_node(
                    'Scan',
                    [state, state, *inputs],
                    [f'{name}_last_forth', f'{name}_last_back', *outputs],
                    name=name,
                    body=_body(),
                    num_scan_inputs=4,
                    scan_input_axes=[_SCANNED_AXIS] * 4,
                    scan_input_directions=[0, 0, 1, 1],
                    scan_output_axes=[_SCANNED_AXIS] * 2,
                    scan_output_directions=[0, 1],
                )
            )
    kept = [opset for opset in model.opset_import if opset.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _body():
    """One step of the recurrences, forth and back."""
    from onnx import TensorProto, helper

    def declare(*names: str) -> list:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]

    nodes, states = [], []
    for way in ('forth', 'back'):
        nodes += [
            helper.make_node('Mul', [f'state_{way}', f'decay_{way}'], [f'kept_{way}']),
            helper.make_node('Add', [f'kept_{way}', f'input_{way}'], [f'next_{way}']),
            helper.make_node('Identity', [f'next_{way}'], [f'out_{way}']),
        ]
        states.append(f'state_{way}')
    inputs = [f'{part}_{way}' for way in ('forth', 'back') for part in ('decay', 'input')]
    return helper.make_graph(
        nodes,
        'recurrences',
        declare(*states, *inputs),
        declare('next_forth', 'next_back', 'out_forth', 'out_back'),
    )
