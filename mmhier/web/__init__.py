"""A page in the browser, served by this machine."""
