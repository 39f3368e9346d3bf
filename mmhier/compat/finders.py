"""Import hooks that supply names which the stock MMPose needs and the environment lacks.

Two finders, told apart by their place on ``sys.meta_path``:

* :class:`FallbackFinder` stands last, so Python asks it only for modules that nobody else has.
* :class:`GuardFinder` stands first and knows a handful of exact module names, and mmhier's own. It finds the
  real module like everybody else would, and runs some code around its execution.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from threading import get_ident
from types import ModuleType

from mmhier.compat import installation

logger = logging.getLogger('mmhier')

SHIMS = Path(__file__).parent / 'shims'

# Foreign module name -> file that stands in for it. Submodules of a package are found through its path.
FALLBACKS = {
    'mmcv._ext': SHIMS / 'mmcv_ext.py',
    'xtcocotools': SHIMS / 'xtcocotools' / '__init__.py',
}

# Packages that have been reported as broken.
_told: set[str] = set()


class FallbackFinder(MetaPathFinder):
    """Finds the modules of :data:`FALLBACKS`. Last on ``sys.meta_path``, hence only when they are absent."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of our stand-in for ``fullname``, or None."""
        if fullname not in FALLBACKS:
            return None
        logger.debug('%s is not installed; mmhier supplies it', fullname)
        return spec_from_file_location(fullname, FALLBACKS[fullname])


class GuardFinder(MetaPathFinder):
    """Finds the modules of :data:`GUARDS`, and ours, where they really are and wraps their loaders."""

    def __init__(self) -> None:
        self._busy: set[tuple[int, str]] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the real spec of a guarded module with a :class:`GuardedLoader`, or None."""
        key = get_ident(), fullname
        guard = GUARDS.get(fullname) or (_clear_import_errors if fullname.startswith('mmhier.') else None)
        if guard is None or key in self._busy:
            return None
        self._busy.add(key)
        try:
            spec = _first_spec(fullname, path, target)
        finally:
            self._busy.discard(key)
        if spec is not None and spec.loader is not None:
            spec.loader = GuardedLoader(spec.loader, guard)
        return spec


class GuardedLoader(Loader):
    """A loader that runs a module inside ``guard(module)`` and is otherwise the loader it wraps."""

    def __init__(self, loader: Loader, guard: Callable[[ModuleType], AbstractContextManager]) -> None:
        self._loader = loader
        self._guard = guard

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the wrapped loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module inside the guard, then take the wrapper out of its spec."""
        with self._guard(module):
            self._loader.exec_module(module)
        module.__loader__ = module.__spec__.loader = self._loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)


def _first_spec(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """Ask every finder on ``sys.meta_path`` in turn, as the import system does."""
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, 'find_spec', None)
        spec = find_spec(fullname, path, target) if find_spec is not None else None
        if spec is not None:
            return spec
    return None


@contextmanager
def _working_xtcocotools(package: ModuleType) -> Iterator[None]:
    """Put our stand-in into the package ``xtcocotools`` if its compiled part cannot be imported.

    Unnecessary once xtcocotools has wheels for the numpy and Python in use (1.14.3 stops at numpy 1 and
    Python 3.11; with numpy 2 it fails with "numpy.dtype size changed").
    """
    yield
    if package.__spec__.origin == str(FALLBACKS['xtcocotools']):
        return
    try:
        importlib.import_module('xtcocotools.mask')
    except Exception as error:
        logger.warning('xtcocotools is installed but broken (%s); using faster-coco-eval instead', error)
        for name in [name for name in sys.modules if name.startswith('xtcocotools.')]:
            del sys.modules[name]
        package.__path__ = [str(FALLBACKS['xtcocotools'].parent)]


def _supply(name: str, shim: str, parents: bool = False) -> Callable[[ModuleType], AbstractContextManager]:
    """Make a guard that lends the module ``name`` to one importer, if it cannot be imported by itself.

    The stand-in is in ``sys.modules`` only while that importer runs: everybody else still finds the package
    missing (MMPose's inferencers and mmpretrain ask for mmdet, many ask for torchvision). Its parent packages
    are lent with it only where ``import a.b.c as d`` needs them.
    """

    @contextmanager
    def guard(module: ModuleType) -> Iterator[None]:
        if _importable(name):
            yield
            return
        stand_in = importlib.import_module(shim)
        lent = _with_parents(name, stand_in) if parents else {name: stand_in}
        sys.modules.update(lent)
        try:
            yield
        finally:
            for lent_name in lent:
                del sys.modules[lent_name]

    return guard


def _with_parents(name: str, module: ModuleType) -> dict[str, ModuleType]:
    """A module and its parent packages, empty but for the way to it."""
    chain = {name: module}
    while '.' in name:
        outer, _, attribute = name.rpartition('.')
        chain[outer] = ModuleType(outer)
        setattr(chain[outer], attribute, chain[name])
        name = outer
    return chain


@contextmanager
def _torchvision_for_timm(module: ModuleType) -> Iterator[None]:
    """Lend timm the names that it binds when it is imported, if torchvision cannot be imported."""
    if _importable('torchvision'):
        yield
        return
    lent = importlib.import_module('mmhier.compat.shims.torchvision_names').modules()
    sys.modules.update(lent)
    try:
        yield
    finally:
        for name in lent:
            del sys.modules[name]


def _importable(name: str) -> bool:
    """Whether ``import name`` works; says so in the log if the package is there but broken."""
    top = name.partition('.')[0]
    try:
        importlib.import_module(name)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == top
        if not absent and top not in _told:
            _told.add(top)
            logger.warning('%s is installed but broken: %s', top, error)
        return False
    return True


@contextmanager
def _refusing_mmdet(module: ModuleType) -> Iterator[None]:
    """Turn mmdet's assertion on the version of mmcv into an ImportError, as those who ask for mmdet expect.

    Unnecessary once mmdet accepts current mmcv (3.3.0 refuses 2.2.0, and all of ``mmpose.apis`` with it).
    """
    try:
        yield
    except AssertionError as error:
        raise ImportError(
            f"mmdet refuses the installed mmcv: {error} Run: pip install 'mmcv-lite==2.1.0'", name='mmdet'
        ) from error


@contextmanager
def _clear_import_errors(module: ModuleType) -> Iterator[None]:
    """Say how to install a part of the stack that one of mmhier's modules needs and that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        remedy = installation.advice(error.name or '')
        if remedy is None or remedy in str(error):
            raise
        raise ModuleNotFoundError(
            f'{module.__name__} needs {error.name}, which is not installed. {remedy}', name=error.name
        ) from error


@contextmanager
def _absent_if_broken(module: ModuleType) -> Iterator[None]:
    """Report a package that fails while it is imported as missing.

    MMEngine, timm and others ask for torchvision with ``except ImportError``; a torchvision of another build
    than torch fails with ``RuntimeError`` instead and takes them down. Unnecessary once it says ImportError.
    """
    try:
        yield
    except RuntimeError as error:
        raise ModuleNotFoundError(str(error)) from error


_boxes_for_mmpretrain = _supply(
    'torchvision.ops.boxes', 'mmhier.compat.shims.torchvision_boxes', parents=True
)

GUARDS: dict[str, Callable[[ModuleType], AbstractContextManager]] = {
    'xtcocotools': _working_xtcocotools,
    'torchvision': _absent_if_broken,
    'mmdet': _refusing_mmdet,
    'timm': _torchvision_for_timm,
    'mmpose.models.heads.hybrid_heads.rtmo_head': _supply('mmdet.utils', 'mmhier.compat.shims.mmdet_utils'),
    'mmpose.visualization.simcc_vis': _supply(
        'torchvision.transforms', 'mmhier.compat.shims.torchvision_transforms'
    ),
    'mmpretrain.models.utils.box_utils': _boxes_for_mmpretrain,
    'mmpretrain.evaluation.metrics.visual_grounding_eval': _boxes_for_mmpretrain,
}


def install() -> None:
    """Put both finders on ``sys.meta_path``."""
    sys.meta_path.insert(0, GuardFinder())
    sys.meta_path.append(FallbackFinder())
