"""``mmhier convert IN OUT``: weights of another project -> a file with our names, which are OpenMMLab's."""

import argparse
from pathlib import Path

from mmhier.atomic import new_file
from mmhier.cli.trust import add_trust_option, apply_trust

ENDINGS = ('.pth', '.pt', '.safetensors')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.add_argument(
        'source',
        metavar='IN',
        help='checkpoint or .safetensors, its address, or the name of released weights; nothing in it is '
        'executed unless trusted',
    )
    parser.add_argument('target', metavar='OUT', type=Path, help='.pth, .pt or .safetensors')
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='keep the stages of this model (config file, or name: mmhier models lists them), instead of '
        '--num-stages and --out-indices',
    )
    parser.add_argument('--num-stages', type=int, help='stages to keep (default: all)')
    parser.add_argument(
        '--out-indices', type=int, nargs='+', help='stages whose closing norm is kept (default: the last)'
    )
    parser.add_argument(
        '--whole-model',
        action='store_true',
        help='a model with its decoder, for tools/test.py: ViTPose, HMR2.0, ours of many data sets; also '
        'one file of the parts of a sharded training',
    )
    parser.add_argument(
        '--dataset',
        help='which data set of a ViTPose+ file, or of a model of ours for many: coco, aic, mpii ...; '
        "all keeps ViTPose+'s experts and decoders",
    )
    add_trust_option(parser)
    parser.add_argument('--prefix', help='what the keys of the backbone begin with, if it holds several')


def run(args: argparse.Namespace) -> int:
    """Convert a file and say what was left out."""
    apply_trust(args)
    from mmhier.checkpoint_parts import parts_of
    from mmhier.compat.checkpoint import load_checkpoint_file
    from mmhier.convert import Report, unwrap
    from mmhier.convert.lightning import read_lightning_checkpoint

    if args.target.suffix not in ENDINGS:
        raise ValueError(f'{args.target} must end in one of {", ".join(ENDINGS)}')
    kept = (*_stages(args), args.prefix)
    path = _file_of(args.source)
    # Lightning's files hold configurations beside the weights; their objects are not made.
    read = read_lightning_checkpoint if path.suffix == '.ckpt' else load_checkpoint_file
    if args.whole_model and read is load_checkpoint_file and parts_of(read(path, whole=False), path):
        weights = read(path)['state_dict']
        _write(weights, args.target, dict(source=args.source, format='mmhier'))
        print(f'{args.source}: {len(weights)} tensors of a sharded training; wrote {args.target}')
        return 0
    weights = unwrap(read(path), args.source)
    state_dict, name, dropped = _convert(weights, kept, args)
    _write(state_dict, args.target, dict(source=args.source, format=name))
    print(f'{Report(args.source, name, sorted(state_dict), dropped, [])}; wrote {args.target}')
    return 0


def _file_of(source: str) -> Path:
    """The file of a source, fetched if it is an address or the name of released weights."""
    from mmhier.compat.checkpoint import fetch
    from mmhier.zoo.choice import INITIAL, released
    from mmhier.zoo.fetch import fetch_entry

    if entry := released(source, INITIAL):
        return fetch_entry(entry)
    return Path(fetch(source)) if '://' in source else Path(source).expanduser()


def _convert(weights: dict, kept: tuple, args: argparse.Namespace):
    from mmhier.convert import VIT, convert, convert_whole_model, find_family
    from mmhier.convert.vit import choose_dataset, without_heads

    if args.whole_model:
        if any(option is not None for option in kept):
            raise ValueError('--whole-model goes without --model, --num-stages, --out-indices and --prefix')
        return convert_whole_model(weights, args.dataset, args.source)
    family = find_family(weights, args.source, args.prefix)
    if args.dataset is not None and family is not VIT:
        raise ValueError(f'--dataset is for ViTPose+, {args.source} holds a {family.name}')
    if family is VIT:
        weights = choose_dataset(without_heads(weights), args.dataset)
    return convert(family, weights, *kept, args.source)


def _stages(args: argparse.Namespace) -> tuple[int | None, list[int] | None]:
    """How many stages are kept, and those whose closing norm is; None: all of the file, and the last."""
    if args.model is None:
        return args.num_stages, args.out_indices
    if args.num_stages is not None or args.out_indices is not None:
        raise ValueError('--model says which stages are kept: leave out --num-stages and --out-indices')
    from mmengine.config import Config

    from mmhier.zoo.names import resolve_config

    backbone = Config.fromfile(resolve_config(args.model)).model.backbone
    return backbone.get('num_stages'), backbone.get('out_indices')


def _write(state_dict: dict, target: Path, meta: dict[str, str]) -> None:
    """Write the weights; an interrupted run leaves no half a file."""
    import torch

    state_dict = {key: value.contiguous() for key, value in state_dict.items()}
    with new_file(target) as part:
        if target.suffix == '.safetensors':
            try:
                from safetensors.torch import save_file
            except ImportError as error:
                raise ImportError('writing .safetensors needs: pip install safetensors') from error
            save_file(state_dict, part, meta)
        else:
            torch.save(dict(state_dict=state_dict, meta=meta), part)
