"""The page of ``mmhier app``, which finds poses and meshes on a picture or a video.

The page is served by this machine, to this machine alone unless ``--host`` says otherwise. It needs gradio
(``pip install gradio``) and no internet: nothing is loaded from elsewhere, nothing is shared or reported.
Uploads and results lie in a temporary folder that goes away with the program, or, if that is killed, when it
is started again. Requests of other pages and under other names are refused (:mod:`mmhier.web.gate`).
"""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmhier.network import free_port
from mmhier.user_errors import USER_ERRORS
from mmhier.web.gate import Gate, host_name

if TYPE_CHECKING:
    import gradio
    import numpy as np

    from mmhier.inference.inferencer import Inferencer

INSTALL = 'mmhier app needs gradio: pip install gradio av'

MAX_FRAMES = 1000
MAX_UPLOAD = '1gb'

TITLE = 'mmhier: poses and body meshes'
MARKING = 'click at two opposite corners of each; in a video the boxes hold for every frame.'
WHOLE_IMAGE = (
    f'The whole picture is taken as **one person**, unless you mark people in it: {MARKING} '
    '`mmhier app --detector yolox-s` finds them by itself.'
)
DETECTOR = f'Everybody the detector finds is taken, unless you mark people in the picture: {MARKING}'
READY = 'Choose a picture or a video.'

MARK = (255, 170, 0)  # colour of marked boxes, RGB
PANE = 420  # height of picture and scene, pixels
# Results cannot be taken out of their list.
CSS = '#files .label-clear-button {display: none}'

_WITHOUT_INTERNET = {
    'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_DISABLE_TELEMETRY': '1', 'GRADIO_SHARE': 'False',
}  # fmt: skip

Advance = Callable[[int, int | None], None]


class Model(NamedTuple):
    """A model that can be chosen: its config, and its checkpoint or 'random'."""

    config: Path
    weights: str | Path


def find_models(name: str | None = None, weights: str | Path | None = None) -> dict[str, Model]:
    """List the models that have weights.

    Args:
        name: Model or config file that comes first.
        weights: Its checkpoint; by default those of :func:`mmhier.zoo.choice.check_weights`.

    Raises:
        FileNotFoundError: If no model has weights, or the one asked for is not there.
        ValueError: If there are weights without a name.
    """
    from mmhier.zoo.choice import check_weights, find_weights
    from mmhier.zoo.names import find_configs, resolve_config

    models = {}
    if name is not None:
        config = resolve_config(name)
        models[config.stem] = Model(config, check_weights(config, weights))
    elif weights is not None:
        raise ValueError(f'--weights {weights} needs --model: the name of the model that it is of')
    for config in find_configs(['*']):
        try:
            models.setdefault(config.stem, Model(config, find_weights(config)))
        except FileNotFoundError:
            continue
    if not models:
        raise FileNotFoundError(
            'no model has weights in pretrained/ or work_dirs/. Name one (--model NAME --weights FILE), '
            'train one (mmhier quickstart, mmhier train), or convert one of another project (mmhier convert)'
        )
    return models


@dataclass
class Analysis:
    """What was found in a file.

    Attributes:
        summary: One line.
        overlay: Picture or video.
        scene: GLB file, of mesh models.
        files: All files.
    """

    summary: str
    overlay: Path
    scene: Path | None = None
    files: list[Path] = field(default_factory=list)


class Analyzer:
    """Runs models on files, one at a time; knows nothing of the page.

    Args:
        models: What can be chosen.
        folder: Where results are written; those of the run before are removed.
        max_frames: Longest video.
        settings: Further arguments of :class:`mmhier.inference.inferencer.Inferencer`.
    """

    def __init__(self, models: dict[str, Model], folder: Path, max_frames: int = MAX_FRAMES, **settings: Any):
        self.models = models
        self.folder = folder
        self.max_frames = max_frames
        self.settings = settings
        self._loaded: tuple[str, Inferencer] | None = None

    def inferencer(self, name: str) -> 'Inferencer':
        """The model of a name; the last one stays loaded."""
        from mmhier.inference.inferencer import Inferencer

        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # its memory is free before the next one is loaded
            detector = self.settings.get('detector') or 'whole_image'  # the page promises that
            self._loaded = name, Inferencer(*self.models[name], **self.settings | dict(detector=detector))
        return self._loaded[1]

    def look(self, path: str | Path) -> tuple['np.ndarray', int]:
        """First image of a file, (H, W, 3) RGB, and how many there are.

        Raises:
            ValueError: If it cannot be read, or is too long.
        """
        from mmhier.media import FrameStream

        with FrameStream(path) as stream:
            frame = next(iter(stream), None)
            if frame is None:
                raise ValueError(f'{path} holds no images')
            return frame.image[..., ::-1], self._check_length(stream.total(), Path(path).name)

    def __call__(
        self,
        path: str | Path,
        model: str,
        smooth: bool = False,
        boxes: 'np.ndarray | None' = None,
        advance: Advance = lambda done, total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Analysis:
        """Find the people in a file and write all about them.

        Args:
            path: Image or video.
            model: A name of ``models``.
            smooth: Smooth poses over time.
            boxes: (N, 4) of the people, instead of the detector's; the same in all frames.
            advance: Called with the frames that are done, and how many there are.
            stopped: Whether to end it; what is there by then is the result.

        Raises:
            ValueError: If the file cannot be read or is too long, or nobody is in it.
        """
        from mmhier.media import FrameStream
        from mmhier.results.writer import ResultWriter

        name = Path(path).name
        inferencer = self.inferencer(model)
        inferencer.track = FrameStream(path).moving
        inferencer.smooth = smooth and inferencer.track
        shutil.rmtree(self.folder / 'results', ignore_errors=True)
        with inferencer(str(path), boxes) as run:
            total = self._check_length(run.total(), name)
            with ResultWriter(self.folder / 'results', _kinds(inferencer, inferencer.track)) as writer:
                complete = True
                for result in run:
                    writer.write(result)
                    advance(run.frames, total)
                    if stopped() or run.frames >= self.max_frames:
                        complete = run.frames == total
                        break
                writer.close(complete, run.skips)
        if not run.people:
            raise ValueError(f'no people were found in {name}')
        return Analysis(
            summary=_summary(run, writer, name, complete),
            overlay=next(file for file in writer.files if file.stem.endswith('_overlay')),
            scene=next((file for file in writer.files if file.suffix == '.glb'), None),
            files=writer.files,
        )

    def _check_length(self, frames: int | None, name: str) -> int:
        if (frames or 0) > self.max_frames:
            raise ValueError(
                f'{name} has {frames} frames, and this page takes {self.max_frames}: cut it, use mmhier '
                f'infer, or start with mmhier app --max-frames {frames}'
            )
        return frames or 0


def boxes_of(corners: list[list[int]]) -> 'np.ndarray | None':
    """Boxes (N, 4) from pairs of opposite corners, pixels; None if there is no pair."""
    import numpy as np

    pairs = np.array(corners[: len(corners) // 2 * 2], np.float32).reshape(-1, 2, 2)
    return np.concatenate([pairs.min(axis=1), pairs.max(axis=1)], axis=1) if len(pairs) else None


def draw_corners(image: 'np.ndarray', corners: list[list[int]]) -> 'np.ndarray':
    """Draw what :func:`boxes_of` makes of corners, and the one that waits for its opposite, over a copy."""
    import cv2

    image = image.copy()
    width = max(1, round(max(image.shape) / 300))
    for x, y in corners[len(corners) // 2 * 2 :]:
        cv2.circle(image, (x, y), 2 * width, MARK, -1, cv2.LINE_AA)
    boxes = boxes_of(corners)
    for left, top, right, bottom in () if boxes is None else boxes.astype(int).tolist():
        cv2.rectangle(image, (left, top), (right, bottom), MARK, width)
    return image


def build_page(analyzer: Analyzer) -> 'gradio.Blocks':
    """Lay out the page and connect it.

    Args:
        analyzer: Does the work.
    """
    gr = import_gradio(analyzer.folder)
    bar = gr.Progress()
    pane = dict(interactive=False, height=PANE, min_width=300)
    stops: set[str | None] = set()  # sessions that want to stop

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        corners = gr.State([])
        gr.Markdown('# mmhier\nPoses and body meshes of the people in a picture or a video.')
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                file = gr.File(label='Picture or video', file_types=['image', 'video'], height=150)
                names = list(analyzer.models)
                model = gr.Dropdown(names, value=names[0], label='Model', filterable=len(names) > 9)
                smooth = gr.Checkbox(label='Smooth over time (videos)')
                with gr.Row():
                    go = gr.Button('Run', variant='primary', min_width=70)
                    halt = gr.Button('Stop', min_width=70)
                clear = gr.Button('Clear marks', size='sm')
                status = gr.Textbox(READY, label='Status', lines=2, max_lines=8, interactive=False)
                gr.Markdown(DETECTOR if analyzer.settings.get('detector') else WHOLE_IMAGE)
            with gr.Column(scale=5, min_width=320):
                with gr.Row():
                    picture = gr.Image(
                        label='Picture', elem_id='picture', buttons=['download', 'fullscreen'], **pane
                    )
                    video = gr.Video(label='Overlay', visible=False, autoplay=True, loop=True, **pane)
                    scene = gr.Model3D(label='Bodies in 3D (mesh models)', **pane)
                files = gr.File(label='Files', file_count='multiple', interactive=False, elem_id='files')

    def show(text: str, image: Any = None, label: str = 'Picture', found: Analysis | None = None) -> dict:
        """What all parts of the page show."""
        overlay = str(found.overlay) if found else None
        moves = bool(found) and found.overlay.suffix == '.mp4'
        return {
            status: text,
            picture: gr.update(value=image if overlay is None else overlay, visible=not moves, label=label),
            video: gr.update(value=overlay if moves else None, visible=moves),
            scene: str(found.scene) if found and found.scene else None,
            files: [str(path) for path in found.files] if found else None,
        }

    def look(path: str | None) -> dict:
        """A file was chosen or taken away, or its marks are to go."""
        if path is None:
            return {corners: [], **show(READY)}
        try:
            image, frames = analyzer.look(path)
        except USER_ERRORS as error:
            return {corners: [], **show(_message(error, path))}
        size = f'{image.shape[1]} x {image.shape[0]} pixels'
        length = f', {frames} frames' if frames > 1 else ''
        return {corners: [], **show(f'{Path(path).name}: {size}{length}. Press Run.', image)}

    def mark(path: str | None, marked: list[list[int]], event: gr.SelectData) -> dict:
        """The picture was clicked at."""
        marked = [*marked, list(event.index)]
        image = draw_corners(analyzer.look(path)[0], marked)
        text = 'Now the opposite corner.' if len(marked) % 2 else f'Marked: {len(marked) // 2}. Press Run.'
        return {corners: marked, **show(text, image)}

    def find(
        path: str | None,
        name: str,
        smoothly: bool,
        marked: list[list[int]],
        request: gr.Request,
        progress=bar,
    ) -> dict:
        """Run was pressed."""
        if path is None:
            return show('Choose a picture or a video first.')
        stops.discard(request.session_hash)
        progress(0, desc='Loading the model')
        try:
            found = analyzer(
                path,
                name,
                smoothly,
                boxes_of(marked),
                advance=lambda done, total: progress((done, total), desc='Finding people', unit='frames'),
                stopped=lambda: request.session_hash in stops,
            )
        except USER_ERRORS as error:
            return {**look(path), corners: marked, status: _message(error, path)}
        return show(found.summary, label='Overlay', found=found)

    def stop(request: gr.Request) -> None:
        """Stop was pressed."""
        stops.add(request.session_hash)

    outputs = [status, picture, video, scene, files]
    private = dict(api_visibility='private', show_progress_on=picture)
    with page:
        gr.on([file.change, clear.click], look, file, [corners, *outputs], show_progress='minimal', **private)
        picture.select(mark, [file, corners], [corners, *outputs], show_progress='hidden', **private)
        go.click(find, [file, model, smooth, corners], [corners, *outputs], concurrency_limit=1, **private)
        halt.click(stop, queue=False, api_visibility='private')
    return page


def launch(
    page: 'gradio.Blocks', host: str = '127.0.0.1', port: int | None = None, names: Sequence[str] = ()
) -> str:
    """Start serving a page in a thread of its own; return its address.

    Args:
        page: From :func:`build_page`.
        host: Address to listen at.
        port: By default the first that is free from 7860; 0: any that is free.
        names: Further names under which the page may be opened; a port in them does not matter.

    Raises:
        ValueError: If the address cannot be listened at, or a name is none.
    """
    names = [host_name(name) for name in names]
    if port is not None and not 0 <= port < 2**16:
        raise ValueError(f'--port {port}: expected 1 to 65535, or 0 for any that is free')
    gr = import_gradio()
    from starlette.middleware import Middleware

    # Gradio asks its own page whether it is there: not through a proxy.
    direct = os.environ.get('no_proxy') or os.environ.get('NO_PROXY')
    os.environ['no_proxy'] = ','.join(filter(None, [direct, 'localhost', '127.0.0.1']))
    # Of the weight 600, gradio 6 brings a file without Latin letters.
    font = gr.themes.LocalFont('Source Sans Pro', weights=(400, 700))
    try:
        port = free_port(host) if port == 0 else port
        _, url, _ = page.launch(
            server_name=host, server_port=port, share=False, prevent_thread_lock=True, quiet=True,
            show_error=True, footer_links=[], run_history=False, enable_monitoring=False, ssr_mode=False,
            mcp_server=False, pwa=False, max_file_size=MAX_UPLOAD, css=CSS,
            app_kwargs=dict(middleware=[Middleware(Gate, host=host, names=names)]),
            theme=gr.themes.Default(font=[font, 'system-ui', 'sans-serif']),
        )  # fmt: skip
    except OSError as error:
        raise ValueError(
            f'cannot listen at {host}:{port or "7860 and above"} ({error}); try --port'
        ) from None
    return url


def import_gradio(folder: Path | None = None):
    """Import gradio, told to stay on this machine and to keep its files in a folder."""
    os.environ.update(_WITHOUT_INTERNET)
    if folder is not None:
        os.environ['GRADIO_TEMP_DIR'] = str(folder / 'uploads')
    try:
        import gradio
    except ImportError as error:
        raise ImportError(f'{INSTALL} ({error})') from error
    return gradio


def _kinds(inferencer: 'Inferencer', is_video: bool) -> list[str]:
    """Files that are written."""
    from mmhier.inference.estimators import PoseEstimator

    kinds = ['json', 'npz', 'overlay']
    if isinstance(inferencer.estimator, PoseEstimator):
        return kinds
    kinds += ['side', 'glb', 'bvh'] if is_video else ['side', 'glb', 'bvh', 'obj']
    try:
        import pxr  # noqa: F401
    except ImportError:
        return kinds
    return [*kinds, 'usd']


def _summary(run: Any, writer: Any, name: str, complete: bool) -> str:
    frames = f'{run.frames} frames, ' if run.frames > 1 else ''
    people = f'{run.people} {"person" if run.people == 1 else "people"}'
    spent = {**run.seconds, **writer.seconds}
    main = ', '.join(f'{stage} {spent[stage]:.3f} s' for stage in ('network', 'drawing', 'writing'))
    text = f'{name}: {frames}{people}, {sum(spent.values()):.2f} s ({main}).'
    if not complete:
        text += ' Stopped before the end.'
    for skip in run.skips[:3]:
        text += f' Skipped {skip.count}: {skip.reason}.'
    if run.left_out:
        text += f' Left out {", ".join(f"{reason}: {count}" for reason, count in run.left_out.items())}.'
    return text


def _message(error: Exception, path: str) -> str:
    """One line for the page; the terminal gets it, too."""
    text = str(error).replace(str(path), Path(path).name)
    print(f'mmhier: {text}', file=sys.stderr, flush=True)
    return text
