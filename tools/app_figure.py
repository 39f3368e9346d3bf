"""Take docs/app.jpg: the page of ``mmhier app`` with a result, as a browser shows it.

    python tools/app_figure.py docs/app.jpg PICTURE --model swinhmr2_micro_s3_varied

Needs gradio and playwright, and a browser: that of ``playwright install chromium``, or ``--browser FILE``.
"""

import argparse
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from mmhier.atomic import new_file
from mmhier.web.gate import app_folder
from mmhier.web.page import Analyzer, build_page, find_models, launch

WIDTH_PX, HEIGHT_PX = 1280, 900
WAIT_MS = 120_000
# Bodies in 3D are drawn after the page says that they are there.
DRAWING_MS = 12_000
SOFTWARE_GL = ('--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')


def main() -> None:
    """Take it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out', type=Path, help='the picture of the page')
    parser.add_argument('picture', type=Path, help='the picture of people in it')
    parser.add_argument('--model', required=True, metavar='NAME')
    parser.add_argument('--weights', metavar='FILE', help='default: as mmhier app finds them')
    parser.add_argument('--browser', metavar='FILE', help='a Chromium; default: that of playwright')
    args = parser.parse_args()
    with app_folder() as folder:
        page = build_page(Analyzer(find_models(args.model, args.weights), folder, device='cpu'))
        try:
            with new_file(args.out) as temporary:
                photograph(launch(page, port=0), args.picture, temporary, args.browser)
        finally:
            page.close(verbose=False)


def photograph(address: str, picture: Path, out: Path, browser: str | None) -> None:
    """Have the page look at a picture, and take what the browser then shows as a JPEG file."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as play, TemporaryDirectory() as profile:
        context = play.chromium.launch_persistent_context(
            profile,
            executable_path=browser,
            args=SOFTWARE_GL,
            viewport=dict(width=WIDTH_PX, height=HEIGHT_PX),
            color_scheme='light',
        )
        context.set_default_timeout(WAIT_MS)
        shown = context.new_page()
        shown.goto(address)
        shown.locator('input[type=file]').first.set_input_files(picture)
        expect(shown.get_by_text(picture.name).first).to_be_visible(timeout=WAIT_MS)
        shown.get_by_role('button', name='Run', exact=True).click()
        expect(shown.get_by_label('Status')).to_have_value(re.compile(r'\d (person|people)'), timeout=WAIT_MS)
        shown.wait_for_timeout(DRAWING_MS)
        shown.screenshot(path=out, full_page=True, type='jpeg', quality=85)
        context.close()


if __name__ == '__main__':
    main()
