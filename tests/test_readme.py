"""What the README names is there."""

import re


def test_every_file_that_the_readme_links_or_runs_exists(repo_root):
    text = (repo_root / 'README.md').read_text()
    paths = re.findall(r'\]\((?!http)([^)#]+)\)', text)
    paths += re.findall(r'\b((?:tools|configs)/[\w/.]+\.\w+)', text)
    assert len(paths) > 5
    for path in paths:
        assert (repo_root / path).exists(), path
